//! Bulk through a TCP service: what goes through the worker's pipe, and what is copied.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Engine, Lab, Options, Origin, Wire, eventually, system};
use socket2::SockRef;

use crate::tcp::{echo, pattern};
use crate::tcp_service;

/// What is sent at once by those who send as fast as they can.
const BLOCK: usize = 256 << 10;

/// Sends so many bytes to a server that sends them back, and checks each of them.
fn comes_back_whole(at: SocketAddr, bytes: usize) {
    comes_back(at, bytes, |stream, block| stream.write_all(block).unwrap());
}

fn comes_back(at: SocketAddr, bytes: usize, send: impl Fn(&mut TcpStream, &[u8]) + Send + 'static) {
    let stream = TcpStream::connect(at).unwrap();
    let mut back = stream.try_clone().unwrap();
    back.set_read_timeout(Some(secs(30))).unwrap();
    let sender = std::thread::spawn(move || {
        let mut stream = stream;
        for from in (0..bytes).step_by(BLOCK) {
            let block: Vec<u8> = (from..bytes.min(from + BLOCK)).map(pattern).collect();
            send(&mut stream, &block);
        }
        stream.shutdown(Shutdown::Write).unwrap();
    });
    let (mut at, mut block) = (0, vec![0; BLOCK]);
    loop {
        let count = back.read(&mut block).unwrap();
        if count == 0 {
            break;
        }
        let same = block[..count].iter().enumerate().all(|(n, byte)| *byte == pattern(at + n));
        assert!(same, "bytes were changed, lost or moved within {count} of {at}");
        at += count;
    }
    sender.join().unwrap();
    assert_eq!(at, bytes);
}

fn moved(engine: &Engine) -> f64 {
    engine.metric("forebay_moved_bytes_total", &[])
}

//= test L4-BULK-01
#[test]
fn a_hundred_megabytes_come_back_whole_and_go_through_the_pipe_on_either_kernel_interface() {
    const BYTES: usize = 104 << 20;
    for env in [vec![], vec![("FOREBAY_NO_IO_URING".to_owned(), "1".to_owned())]] {
        let lab = Lab::new();
        let [server, at] = lab.addresses();
        let _origin = echo(server);
        let engine =
            lab.engine_with(&tcp_service("s", at, "", &[server]), Options { env, ..Options::default() });
        comes_back_whole(at, BYTES);
        let line = &engine.log_lines(1, |line| line["rx_bytes"] == BYTES)[0];
        assert_eq!((&line["tx_bytes"], &line["connection_state"]), (&BYTES.into(), &"complete".into()));
        assert!(engine.metric("forebay_server_sent_bytes_total", &[]) >= BYTES as f64);
        assert!(moved(&engine) > (1 << 20) as f64, "{} bytes went through the pipe", moved(&engine));
    }
}

/// The block's last byte is urgent.
fn with_a_mark(stream: &mut TcpStream, block: &[u8]) {
    let (last, before) = block.split_last().unwrap();
    stream.write_all(before).unwrap();
    assert_eq!(SockRef::from(&*stream).send_out_of_band(&[*last]).unwrap(), 1);
}

//= test L4-URGENT-01
#[test]
fn urgent_data_stays_in_its_place_and_holds_nothing_up_on_either_kernel_interface() {
    for env in [vec![], vec![("FOREBAY_NO_IO_URING".to_owned(), "1".to_owned())]] {
        let lab = Lab::new();
        let [server, at] = lab.addresses();
        let _origin = echo(server);
        let engine =
            lab.engine_with(&tcp_service("s", at, "", &[server]), Options { env, ..Options::default() });
        comes_back(at, 48 << 20, with_a_mark);
        assert!(moved(&engine) > (1 << 20) as f64, "{} bytes went through the pipe", moved(&engine));
        // Little at a time, and more behind the mark at once: nothing else comes that could wake anybody.
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(secs(10))).unwrap();
        for round in 0..200 {
            with_a_mark(&mut stream, b"a break!");
            stream.write_all(b" and on").unwrap();
            let mut back = [0; 15];
            stream.read_exact(&mut back).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(&back, b"a break! and on");
        }
    }
}

//= test SE-MOVE-02
#[test]
fn where_the_system_allows_no_pipe_or_no_splice_everything_is_copied() {
    const BYTES: usize = 24 << 20;
    let refused =
        [(libc::SYS_pipe2, libc::EPERM), (libc::SYS_pipe2, libc::EMFILE), (libc::SYS_splice, libc::EINVAL)];
    for (call, error) in refused {
        let lab = Lab::new();
        let [server, at] = lab.addresses();
        let _origin = echo(server);
        let options = Options { refused_calls: vec![(call, error)], ..Options::default() };
        let engine = lab.engine_with(&tcp_service("s", at, "", &[server]), options);
        comes_back_whole(at, BYTES);
        assert_eq!(moved(&engine), 0.0);
        let shortages = engine.metric("forebay_pipe_shortages_total", &[]);
        assert_eq!(shortages >= 1.0, call == libc::SYS_pipe2, "{shortages} times for want of a pipe");
        let said = engine.process.printed().contains("SE_PIPE_REFUSED");
        assert_eq!(said, error == libc::EPERM, "a pipe that may be had later is not refused");
    }
}

/// A server that sends as much as is taken, for ever.
fn endless(at: SocketAddr) -> Origin {
    Origin::start(at, |wire, _| {
        let mut stream = wire.stream().try_clone()?;
        stream.set_write_timeout(None)?;
        let block = vec![b'x'; BLOCK];
        loop {
            stream.write_all(&block)?;
        }
    })
}

fn descriptors(engine: &Engine) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", engine.process.pid())).unwrap().count()
}

//= test SE-MOVE-01
//= test L4-MEMORY-01
#[test]
fn receivers_that_stand_still_keep_no_pipe_no_memory_and_no_descriptor() {
    const CLIENTS: usize = 100;
    /// What each has read before it stands still, and what another one then gets past all of them.
    const BYTES: usize = 2 << 20;
    const KIB_EACH_MAX: u64 = 20;
    let lab = Lab::new();
    let [server, at] = lab.addresses();
    let _origin = endless(server);
    let options = Options { workers: 1, ..Options::default() };
    let engine = lab.engine_with(&tcp_service("s", at, "", &[server]), options);
    let read = |mut stream: &TcpStream, bytes: usize| {
        let (mut got, mut block) = (0, vec![0; BLOCK]);
        while got < bytes {
            got += stream.read(&mut block).unwrap();
        }
    };
    let connect = || {
        let stream = system::connect_by_ethernet(at).unwrap();
        system::smallest_receive_buffer(stream.as_raw_fd());
        stream.set_read_timeout(Some(secs(30))).unwrap();
        stream
    };
    let open = || engine.metric("forebay_client_connections_open", &[("virtual_service", "s")]);
    // Everything that is made at first use is made now.
    read(&Wire::connect(at).unwrap().stream().try_clone().unwrap(), BYTES);
    eventually("the first one is gone", secs(20), || open() == 0.0);
    engine.log_lines(1, |_| true);
    let quiet = || {
        let before = engine.metric("forebay_client_sent_bytes_total", &[]);
        // Sleep: a rate is measured over time.
        std::thread::sleep(ms(100));
        engine.metric("forebay_client_sent_bytes_total", &[]) == before
    };
    let (memory, fds) = (system::written_kib(engine.process.pid()), descriptors(&engine));
    let stalled: Vec<TcpStream> = (0..CLIENTS).map(|_| connect()).collect();
    for stream in &stalled {
        read(stream, BYTES);
    }
    eventually("all of them stand still", secs(60), quiet);
    let more = system::written_kib(engine.process.pid()).saturating_sub(memory);
    println!("{more} KiB for {CLIENTS} receivers that stand still");
    assert!(more <= KIB_EACH_MAX * CLIENTS as u64, "{more} KiB for {CLIENTS}");
    let before = moved(&engine);
    let lively = TcpStream::connect(at).unwrap();
    lively.set_read_timeout(Some(secs(30))).unwrap();
    eventually("another one's bytes go through the pipe", secs(60), || {
        read(&lively, BYTES);
        moved(&engine) > before + BYTES as f64
    });
    drop(lively);
    drop(stalled);
    eventually("all connections are closed", secs(20), || open() == 0.0);
    // The worker's pipe is closed while its last receiver failed with bytes in it, and has two.
    eventually("as many descriptors are open as before", secs(20), || descriptors(&engine) <= fds + 2);
}
