//! Who a client is, by what it goes on with: 16 random bytes, made with its first session and kept through every renewal.
//!
//! The library opens and seals sessions in the midst of its own work, on the thread that called it, and hands nothing of
//! ours through. So what is known of the connection's client lies at the thread's hand meanwhile.

use std::cell::Cell;

use aws_lc_rs::rand;

/// A client's id.
pub(super) type ClientId = [u8; 16];

/// What is known of the client whose connection the library works for.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// Who it is.
    pub client: Option<ClientId>,
    /// A session with this id was sealed for it meanwhile.
    pub is_issued: bool,
}

thread_local! {
    static AT_HAND: Cell<Known> = const { Cell::new(Known { client: None, is_issued: false }) };
}

/// The library works for a connection whose client is `client`, as far as that is known.
pub(super) fn begin(client: Option<ClientId>) {
    AT_HAND.set(Known { client, is_issued: false });
}

/// It has worked: what is known now.
pub(super) fn end() -> Known {
    AT_HAND.take()
}

/// A session of this client was opened.
pub(super) fn opened(client: ClientId) {
    AT_HAND.set(Known { client: Some(client), is_issued: false });
}

/// The client for whom a session is sealed: who is known, or a new one; `None`: the system has no random numbers.
//= PERS-TLS-02
pub(super) fn issued() -> Option<ClientId> {
    let client = match AT_HAND.get().client {
        Some(client) => client,
        None => {
            let mut fresh = ClientId::default();
            rand::fill(&mut fresh).ok()?;
            fresh
        }
    };
    AT_HAND.set(Known { client: Some(client), is_issued: true });
    Some(client)
}
