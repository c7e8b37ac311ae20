//! What the control thread tells a worker.

use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::Worker;
use crate::control::mailbox::{MailboxReceiver, Message};
use crate::listen::Entrances;
use crate::rt::{Rt, Sockets};

/// Reads the mailbox for ever.
pub(super) async fn read(worker: Rc<Worker<Sockets>>, entrances: Rc<Entrances>, mailbox: MailboxReceiver) {
    loop {
        if worker.rt.fd_readable(mailbox.wake_fd()).await.is_err() {
            // The messages also stand in shared memory (generations, the stop flag), which is looked at anyway.
            return;
        }
        let mut count = [0_u8; 8];
        // SAFETY: the buffer is eight valid bytes, and the descriptor is open as long as the mailbox.
        unsafe { libc::read(mailbox.wake_fd().as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        while let Some(message) = mailbox.try_recv() {
            act(&worker, &entrances, message);
        }
    }
}

fn act(worker: &Worker<Sockets>, entrances: &Entrances, message: Message) {
    match message {
        Message::PoolsChanged => {
            worker.follow_servers();
            for route in &worker.current().routes {
                // A server that came up may have room for one that waits.
                route.queue.call();
            }
        }
        Message::Configure { running, listeners } => {
            worker.configure(&running);
            entrances.follow(listeners);
        }
        Message::AcceptFor { worker: stuck, listeners } => {
            for listener in listeners {
                // A descriptor that cannot be listened on leaves the stuck worker's clients waiting, as they were.
                let _ = entrances.start(listener, Some(stuck));
            }
        }
        Message::StopAcceptFor { worker: stuck } => entrances.stop_for(stuck),
        Message::StopAccept(done) => {
            entrances.pause();
            done.fetch_add(1, Ordering::AcqRel);
        }
        Message::CutServices(cuts) => {
            cuts.cut.fetch_add(worker.underway.cut_services(&cuts.services), Ordering::AcqRel);
            cuts.done.fetch_add(1, Ordering::AcqRel);
        }
        // How far the stop has come is read with every tick; the next answer says already that it is the last.
        Message::Shutdown => worker.begin_to_drain(),
        Message::Panic => panic!("a fault was asked for: the worker panics"),
        Message::Sleep(ms) => std::thread::sleep(std::time::Duration::from_millis(ms)),
    }
}
