//! What sending a cached file costs on this machine, part by part: the figures that the whole is held against.
//!
//! ```sh
//! cargo run --release -p ktls-engine --example send_budget -- FILE [PROVIDER] [UNIT]
//! ```
//! prints nanoseconds of the thread's CPU, and of the clock, for each 16 KiB: reading units of the file from the page
//! cache to where the records' payloads lie, sealing them there, giving them to TCP, all three in turn on one thread, and
//! `sendfile(2)` without TLS. The receiver is another process, which discards. No pool, no stream: bare calls.

use std::error::Error;
use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::Instant;

use ktls_record::{Algorithm, Frame, Keys, MAX_FRAME_LEN, Seal, Suite, Version, provider};
use rustix::io::ReadWriteFlags;
use rustix::net::{RecvFlags, SendFlags};

type Anything = Box<dyn Error>;

const HEADER: usize = 5;

fn main() -> Result<(), Anything> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--receive", port] => receive(port.parse()?),
        [file] => budget(file, "aws-lc", 256 << 10),
        [file, provider] => budget(file, provider, 256 << 10),
        [file, provider, unit] => budget(file, provider, unit.parse()?),
        _ => Err("usage: send_budget FILE [PROVIDER] [UNIT]".into()),
    }
}

/// One unit of records, and what is done with it.
struct Unit {
    file: File,
    len: u64,
    records: usize,
    record_size: usize,
    seal: Box<dyn Seal>,
    pages: Vec<u8>,
    sequence: u64,
}

impl Unit {
    fn new(path: &str, provider: &str, unit: usize) -> Result<Self, Anything> {
        let file = File::open(path)?;
        let suite = Suite::new(Version::Tls13, Algorithm::Aes256Gcm)?;
        let records = unit / MAX_FRAME_LEN;
        let record_size = suite.record_size(MAX_FRAME_LEN);
        Ok(Self {
            len: file.metadata()?.len(),
            file,
            records,
            record_size,
            seal: provider::sealer(provider, &Keys::new(suite, &[7; 32], &[9; 12])?, 0)?,
            pages: vec![0; records * record_size],
            sequence: 0,
        })
    }

    fn read(&mut self) -> Result<(), Anything> {
        let at = self.sequence * MAX_FRAME_LEN as u64 % self.len;
        let mut gaps: Vec<IoSliceMut<'_>> = self
            .pages
            .chunks_mut(self.record_size)
            .map(|record| IoSliceMut::new(&mut record[HEADER..HEADER + MAX_FRAME_LEN]))
            .collect();
        rustix::io::preadv2(&self.file, &mut gaps, at, ReadWriteFlags::NOWAIT)?;
        Ok(())
    }

    fn seal(&mut self) -> Result<(), Anything> {
        for record in self.pages.chunks_mut(self.record_size) {
            let frame = Frame {
                content_type: 23,
                sequence: self.sequence,
                payload_len: MAX_FRAME_LEN,
                padding_len: 0,
            };
            self.seal.seal_in_place(frame, record)?;
            self.sequence += 1;
        }
        Ok(())
    }

    fn skip(&mut self) -> Result<(), Anything> {
        self.sequence += self.records as u64;
        Ok(())
    }

    fn send(&self, socket: &TcpStream) -> Result<(), Anything> {
        let mut left = &self.pages[..];
        while !left.is_empty() {
            let sent = rustix::net::send(socket, left, SendFlags::empty())?;
            left = &left[sent..];
        }
        Ok(())
    }
}

fn budget(path: &str, provider: &str, unit: usize) -> Result<(), Anything> {
    let mut work = Unit::new(path, provider, unit)?;
    let rounds = work.len / (work.records * MAX_FRAME_LEN) as u64;
    let per_record = rounds * work.records as u64;
    let report = |name: &str, spent: (u64, u64)| {
        let (cpu, clock) = (spent.0 / per_record, spent.1 / per_record);
        writeln!(
            std::io::stdout(),
            "{name:24} {cpu:6} ns CPU {clock:6} ns clock"
        )
    };
    report(
        "read",
        timed(rounds, || work.read().and_then(|()| work.skip()))?,
    )?;
    report("seal in place", timed(rounds, || work.seal())?)?;
    let (socket, mut peer) = connected()?;
    report("send", timed(rounds, || work.send(&socket))?)?;
    let all = timed(rounds, || {
        work.read()?;
        work.seal()?;
        work.send(&socket)
    })?;
    report("read, seal, send", all)?;
    drop(socket);
    peer.wait()?;
    let (socket, mut peer) = connected()?;
    let mut offset = 0;
    let plain = timed(rounds, || {
        let mut left = work.records * MAX_FRAME_LEN;
        offset %= work.len;
        while left > 0 {
            left -= rustix::fs::sendfile(&socket, &work.file, Some(&mut offset), left)?;
        }
        Ok(())
    })?;
    report("sendfile, no TLS", plain)?;
    drop(socket);
    peer.wait()?;
    Ok(())
}

/// Nanoseconds of CPU of this thread, and of the clock.
fn timed(
    rounds: u64,
    mut step: impl FnMut() -> Result<(), Anything>,
) -> Result<(u64, u64), Anything> {
    step()?;
    let (start, cpu) = (Instant::now(), thread_cpu_ns()?);
    for _ in 0..rounds {
        step()?;
    }
    let clock = u64::try_from(start.elapsed().as_nanos())?;
    Ok((thread_cpu_ns()? - cpu, clock))
}

fn thread_cpu_ns() -> Result<u64, Anything> {
    // So that what runs now is counted.
    std::thread::yield_now();
    let line = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = line.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(first.parse()?)
}

fn connected() -> Result<(TcpStream, Child), Anything> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    rustix::net::sockopt::set_tcp_congestion(&listener, "cubic")?;
    let port = listener.local_addr()?.port().to_string();
    let peer = Command::new(std::env::current_exe()?)
        .args(["--receive", &port])
        .spawn()?;
    Ok((listener.accept()?.0, peer))
}

fn receive(port: u16) -> Result<(), Anything> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    let mut untouched = vec![0; 1 << 20];
    while rustix::net::recv(&socket, &mut untouched[..], RecvFlags::TRUNC)?.1 > 0 {}
    Ok(())
}
