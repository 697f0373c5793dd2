//! A receive half over a local TCP connection: records in any pieces, good and bad, into any buffers.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ktls_engine::{Backend, Deadline, Error, NewReadKeys};

use self::common::link::{ALL, DATA, Link, NOW, PEEK, cbc, gcm};

#[test]
fn one_byte_at_a_time() {
    for keys in [gcm(), cbc()] {
        let mut link = Link::new(&keys);
        let record = link.seal(DATA, b"one byte at a time");
        let (last, before) = record.split_last().unwrap();
        for byte in before {
            link.peer.write_all(&[*byte]).unwrap();
            assert!(link.is_dry());
        }
        link.peer.write_all(&[*last]).unwrap();
        assert_eq!(link.recv(100, NOW).unwrap(), b"one byte at a time");
        assert!(link.is_dry());
    }
}

#[test]
fn records_of_all_sizes_into_buffers_of_all_sizes() {
    for keys in [gcm(), cbc()] {
        let mut link = Link::new(&keys);
        let sizes = [0, 1, 15, 16, 17, 100, 4096, 16383, 16384, 0, 3];
        let data: Vec<u8> = (0..sizes.iter().sum())
            .map(|n: usize| n.to_le_bytes()[0])
            .collect();
        let mut at = 0;
        let mut wire = Vec::new();
        for size in sizes {
            wire.extend(link.seal(DATA, &data[at..at + size]));
            at += size;
        }
        let mut peer = link.peer.try_clone().unwrap();
        let writer = thread::spawn(move || {
            for piece in wire.chunks(1000) {
                peer.write_all(piece).unwrap();
            }
        });
        let mut received = Vec::new();
        let mut buffer = vec![0; 20_000];
        for room in [1, 5, 16, 17, 1000, 16384, 16385, 20_000]
            .into_iter()
            .cycle()
        {
            if received.len() == data.len() {
                break;
            }
            let count = link.recv_into(&mut buffer[..room]).unwrap();
            received.extend_from_slice(&buffer[..count]);
        }
        writer.join().unwrap();
        assert_eq!(received, data);
    }
}

#[test]
fn one_call_takes_all_whole_records_that_fit() {
    let mut link = Link::new(&gcm());
    let wire: Vec<u8> = (0..10u8).flat_map(|n| link.seal(DATA, &[n; 100])).collect();
    link.peer.write_all(&wire).unwrap();
    assert_eq!(link.recv(1000, PEEK).unwrap().len(), 1000);
    assert_eq!(link.recv(1000, NOW).unwrap().len(), 1000);
    assert!(link.is_dry());
}

#[test]
fn nothing_of_a_wrong_record_is_left_in_the_buffer() {
    for keys in [gcm(), cbc()] {
        // With room for the text, and without: straight into the buffer, and by a copy.
        for room in [20_000, 16_384, 10] {
            let mut link = Link::new(&keys);
            let mut record = link.seal(DATA, &[0x5a; 16_384]);
            *record.last_mut().unwrap() ^= 1;
            link.peer.write_all(&record).unwrap();
            let mut buffer = vec![0; room];
            let error = link.recv_into(&mut buffer).unwrap_err();
            assert!(matches!(error, Error::RecordLost { .. }), "{error:?}");
            assert!(buffer.iter().all(|&byte| byte == 0));
            link.send(DATA, b"the next");
            assert_eq!(link.recv(100, NOW).unwrap(), b"the next");
        }
    }
}

#[test]
fn good_records_before_a_wrong_one_are_returned_first() {
    let mut link = Link::new(&gcm());
    let mut wire = link.seal(DATA, b"good");
    let mut wrong = link.seal(DATA, b"wrong");
    wrong[7] ^= 1;
    wire.extend(wrong);
    wire.extend(link.seal(DATA, b"after"));
    link.peer.write_all(&wire).unwrap();
    assert_eq!(link.recv(4, ALL).unwrap(), b"good");
    assert!(matches!(link.recv(100, ALL), Err(Error::RecordLost { .. })));
    assert_eq!(link.recv(5, ALL).unwrap(), b"after");
}

#[test]
fn the_rest_of_the_buffer_holds_neither_type_nor_mac() {
    for keys in [gcm(), cbc()] {
        let mut link = Link::new(&keys);
        link.send(DATA, b"short");
        let mut buffer = [0xee; 100];
        assert_eq!(link.recv_into(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"short");
        assert!(buffer[5..].iter().all(|&byte| byte == 0 || byte == 0xee));
    }
}

#[test]
fn what_is_no_data_leaves_the_buffer_alone() {
    let mut link = Link::new(&gcm());
    link.send(21, &[1, 0]);
    let mut buffer = [0; 100];
    let error = link.recv_into(&mut buffer).unwrap_err();
    assert!(matches!(error, Error::NotData(21)), "{error:?}");
    assert_eq!(buffer, [0; 100]);
    let mut never = || false;
    let mut deadline = Deadline::nonblocking(&mut never);
    let (data, message) = link
        .stream
        .recv_message(100, true, NOW, &mut deadline)
        .unwrap();
    let message = message.unwrap();
    assert_eq!((data, message.content_type), (vec![1, 0], 21));
    assert_eq!((message.version, message.record_len), ([3, 3], Some(2)));
    assert!(message.is_end);
}

#[test]
fn what_cannot_be_a_record_resets_the_connection() {
    let link = Link::new(&gcm());
    (&link.peer).write_all(b"220 clear text\r\n").unwrap();
    let error = link.recv(100, NOW).unwrap_err();
    assert!(matches!(error, Error::NotARecord { .. }), "{error:?}");
    assert_eq!(link.recv(100, NOW).unwrap(), b"");
}

#[test]
fn an_end_inside_a_record_is_said_once() {
    let mut link = Link::new(&gcm());
    let record = link.seal(DATA, b"cut");
    link.peer.write_all(&record[..10]).unwrap();
    link.peer.shutdown(std::net::Shutdown::Write).unwrap();
    let error = link.recv(100, NOW).unwrap_err();
    assert!(matches!(error, Error::Truncated), "{error:?}");
    assert_eq!(link.recv(100, NOW).unwrap(), b"");
}

#[test]
fn data_of_a_call_that_a_handler_ends_comes_again() {
    let mut link = Link::new(&gcm());
    link.send(DATA, b"first");
    let mut handler = || true;
    let mut deadline = Deadline::within(Some(Duration::from_secs(20)), &mut handler);
    let mut buffer = [0; 100];
    let result = link.stream.recv_into(&mut buffer, ALL, &mut deadline);
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    link.send(DATA, b"second");
    assert_eq!(link.recv(11, ALL).unwrap(), b"firstsecond");
}

#[test]
fn a_handler_receives_in_the_middle_of_its_threads_call() {
    let mut link = Link::new(&gcm());
    let record = link.seal(DATA, b"for the handler");
    let last = link.seal(DATA, b"for the call");
    let (stream, mut peer) = (Arc::clone(&link.stream), link.peer.try_clone().unwrap());
    let mut taken = None;
    let mut handler = || {
        if taken.is_none() {
            peer.write_all(&record).unwrap();
            let mut never = || false;
            let mut deadline = Deadline::within(Some(Duration::from_secs(20)), &mut never);
            taken = Some(stream.recv(100, NOW, &mut deadline).unwrap());
            peer.write_all(&last).unwrap();
        }
        false
    };
    let mut deadline = Deadline::within(Some(Duration::from_secs(20)), &mut handler);
    let received = link.stream.recv(100, NOW, &mut deadline).unwrap();
    assert_eq!(received, b"for the call");
    assert_eq!(taken.unwrap(), b"for the handler");
}

#[test]
fn many_readers_share_a_stream() {
    let mut link = Link::new(&gcm());
    let wire: Vec<u8> = (0..200).flat_map(|_| link.seal(DATA, &[1; 5000])).collect();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let stream = Arc::clone(&link.stream);
            thread::spawn(move || {
                let mut count = 0;
                loop {
                    let mut never = || false;
                    let mut deadline = Deadline::until(None, &mut never);
                    match stream.recv(700, NOW, &mut deadline).unwrap().len() {
                        0 => return count,
                        more => count += more,
                    }
                }
            })
        })
        .collect();
    link.peer.write_all(&wire).unwrap();
    link.peer.shutdown(std::net::Shutdown::Write).unwrap();
    let count: usize = readers
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .sum();
    assert_eq!(count, 200 * 5000);
}

#[test]
fn a_key_update_waits_for_the_next_keys() {
    let mut link = Link::new(&gcm());
    link.send(22, &[24, 0, 0, 1, 0]);
    link.sequence = 0;
    link.send(DATA, b"under new keys");
    assert!(matches!(link.try_recv(), Err(Error::NotData(22))));
    let mut never = || false;
    let mut deadline = Deadline::nonblocking(&mut never);
    let message = link.stream.recv_message(100, true, NOW, &mut deadline);
    assert_eq!(message.unwrap().0, [24, 0, 0, 1, 0]);
    assert!(matches!(link.try_recv(), Err(Error::ReadKeyExpired)));
    let next = NewReadKeys::new(&gcm(), 0, &Backend::compiled_in("ring").unwrap()).unwrap();
    link.stream.rekey(next).unwrap();
    assert_eq!(link.recv(100, NOW).unwrap(), b"under new keys");
}

#[test]
fn who_waits_for_raw_bytes_gets_plaintext_once_keys_are_there() {
    let mut link = Link::without_keys(&gcm());
    let stream = Arc::clone(&link.stream);
    let reader = thread::spawn(move || {
        let mut never = || false;
        let mut deadline = Deadline::within(Some(Duration::from_secs(20)), &mut never);
        stream.recv(100, NOW, &mut deadline).unwrap()
    });
    // Time for the reader to wait.
    thread::sleep(Duration::from_millis(20));
    let opener = NewReadKeys::new(&gcm(), 0, &Backend::compiled_in("ring").unwrap()).unwrap();
    link.stream.install(opener).unwrap();
    link.send(DATA, b"plaintext");
    assert_eq!(reader.join().unwrap(), b"plaintext");
    let again = NewReadKeys::new(&gcm(), 0, &Backend::compiled_in("ring").unwrap()).unwrap();
    assert!(matches!(
        link.stream.install(again),
        Err(Error::ReadKeyInstalled)
    ));
}

#[test]
fn an_idle_connection_keeps_nothing() {
    let mut link = Link::new(&gcm());
    assert!(link.is_dry());
    assert_eq!(link.stream.kept_size(), 0);
    link.send(DATA, &[1; 16_384]);
    assert_eq!(link.recv(100, NOW).unwrap().len(), 100);
    assert!(link.stream.kept_size() >= 16_284);
    assert_eq!(link.recv(16_284, ALL).unwrap().len(), 16_284);
    assert_eq!(link.stream.kept_size(), 0);
    let record = link.seal(DATA, &[1; 1000]);
    link.peer.write_all(&record[..500]).unwrap();
    while link.stream.kept_size() < 500 {
        assert!(link.is_dry());
    }
    link.peer.write_all(&record[500..]).unwrap();
    assert_eq!(link.recv(2000, NOW).unwrap().len(), 1000);
    assert!(link.is_dry());
    assert_eq!(link.stream.kept_size(), 0);
}
