import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * Uploads its standard input with JSSE: Upload PORT VERSION CA.
 *
 * Says close_notify after the last byte and prints what the server answers.  With
 * com.sun.net.ssl.requireCloseNotify JSSE raises when the answer ends without close_notify.
 */
public class Upload {
    public static void main(String[] arguments) throws Exception {
        SSLContext context = trusting(Path.of(arguments[2]));
        int port = Integer.parseInt(arguments[0]);
        try (SSLSocket socket =
                (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", port)) {
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setProtocols(new String[] {"TLSv" + arguments[1]});
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            System.in.transferTo(socket.getOutputStream());
            socket.shutdownOutput();
            System.out.write(socket.getInputStream().readAllBytes());
            System.out.flush();
        }
    }

    private static SSLContext trusting(Path path) throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = Files.newInputStream(path)) {
            CertificateFactory factory = CertificateFactory.getInstance("X.509");
            store.setCertificateEntry("ca", factory.generateCertificate(pem));
        }
        TrustManagerFactory trust =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }
}
