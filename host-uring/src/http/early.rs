//! Requests that came before their client's handshake was over, and so may be sent by someone who only heard them.

use forebay_http::h1::write::FieldEdit;
use forebay_http::h1::{Framing, Method, RequestHead};

use super::answer::linger;
use super::buffer::Buffer;
use super::client::Client;
use super::wait::Patience;
use crate::rt::Rt;
use crate::tls::EarlyData;
use crate::worker::Generation;

/// Says whether a request may be passed on so early: by what its method means it changes nothing, and all of it is there.
//= TLS-EARLY-02
pub(super) fn is_harmless(request: &RequestHead) -> bool {
    let is_safe = matches!(request.method, Method::Get | Method::Head | Method::Options | Method::Trace);
    is_safe && request.framing == Framing::None && request.upgrade.is_none()
}

fn count<R: Rt>(client: &Client<R>, plan: &Generation, what: EarlyData) {
    client.service(plan).counts.early_data[what as usize].inc();
}

/// Waits for the end of the handshake, as long as a handshake may take; says whether it came.
//= TLS-EARLY-02
pub(super) async fn proven<R: Rt>(client: &Client<R>, plan: &Generation, patience: Patience) -> bool {
    let Some(front) = &client.service(plan).tls else { return true };
    count(client, plan, EarlyData::Waited);
    let deadline = patience.step(client.worker.rt.now(), front.handshake_us);
    // Few requests come here: the room for it is not a part of every request's.
    let is_over = Box::pin(client.stream.prove(deadline)).await.is_ok();
    if !is_over {
        count(client, plan, EarlyData::Unfinished);
    }
    is_over
}

/// What a server is told of a request whose client's handshake is not over at this moment.
//= TLS-EARLY-02
pub(super) fn field<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    attempts: u8,
) -> Option<FieldEdit<'static>> {
    let is_early = client.stream.is_early();
    if is_early && attempts == 1 {
        count(client, plan, EarlyData::Forwarded);
    }
    is_early.then_some(FieldEdit::Set { name: b"Early-Data", value: b"1" })
}

/// Ends a connection whose handshake is not over: its end brings the client its next session, and a close before it would
/// be a reset, which may overtake the answer.
//= TLS-EARLY-05
pub(super) async fn part<R: Rt>(client: &Client<R>, plan: &Generation, sink: &mut Buffer) {
    let Some(front) = &client.service(plan).tls else { return };
    let deadline = Patience::endless().step(client.worker.rt.now(), front.handshake_us);
    if Box::pin(client.stream.prove(deadline)).await.is_ok() {
        linger(client, sink).await;
    }
}
