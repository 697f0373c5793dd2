// Uploads its standard input with crypto/tls: upload PORT VERSION CA [PIECE].
//
// Says close_notify after the last byte, prints what the server answers, and fails unless the
// answer ended with close_notify, too.  PIECE: the size of each write, and so of each record.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

// watched notes whether TCP came to its end: crypto/tls takes that for an end of TLS as well.
type watched struct {
	net.Conn
	ended bool
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.ended = w.ended || err == io.EOF
	return n, err
}

func upload(port, version, ca string, piece int) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	number := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[version]
	config := &tls.Config{
		RootCAs: roots, ServerName: "localhost", MinVersion: number, MaxVersion: number,
	}
	plain, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	wire := &watched{Conn: plain}
	conn := tls.Client(wire, config)
	defer conn.Close()
	// A bare Reader: a File may bring a buffer of its own.
	input := struct{ io.Reader }{os.Stdin}
	if _, err = io.CopyBuffer(conn, input, make([]byte, piece)); err != nil {
		return err
	}
	if err = conn.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if wire.ended {
		return fmt.Errorf("the answer %q ended without close_notify", answer)
	}
	fmt.Printf("%s", answer)
	return nil
}

func main() {
	piece := 65536
	if len(os.Args) > 4 {
		piece, _ = strconv.Atoi(os.Args[4])
	}
	if err := upload(os.Args[1], os.Args[2], os.Args[3], piece); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
