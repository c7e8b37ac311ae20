//! Requests that no server answers: ended by a rule, or for want of a server.

use forebay_core::lb::FailAction;
use forebay_core::policy::End;
use forebay_core::{Refusal, Verdict};
use forebay_http::grpc;

use super::answer::{Saying, say};
use super::client::Client;
use super::exchange::{Ended, Outcome};
use super::receive::Failure;
use super::view::View;
use super::wait::Patience;
use super::work::{Head, Work};
use crate::config::Target;
use crate::rt::Rt;
use crate::worker::{Generation, Route};

/// No pool of the service's group can serve: the group's way of saying so.
pub(super) async fn no_pool<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &Head,
    work: &mut Work,
    patience: Patience,
) -> Ended {
    work.trace.ended("no pool of the group can serve");
    let action = match plan.tree.service(client.service.get()).target {
        Target::Group(group) => crate::config::fail_action(&plan.tree.groups[group.0].config.fail_action),
        Target::Pool(_) => FailAction::CloseConnection,
    };
    if let Some(route) = client.service(plan).routes.first() {
        plan.routes[*route].counts.no_server.inc();
    }
    failed_by(client, plan, head, work, &action, patience).await
}

/// Does what a pool or group does when nobody can serve.
pub(super) async fn failed_by<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &Head,
    work: &mut Work,
    action: &FailAction,
    patience: Patience,
) -> Ended {
    let saying = match action {
        FailAction::CloseConnection if is_call(head) => Saying { status: 503, ..Saying::default() },
        FailAction::CloseConnection => return Ended::with(Outcome::Close),
        FailAction::LocalResponse { status, body } => Saying {
            status: *status,
            content: Some(body.as_bytes()).filter(|body| !body.is_empty()),
            ..Saying::default()
        },
        FailAction::Redirect { status, location } => {
            Saying { status: *status, location: Some(location.as_bytes()), ..Saying::default() }
        }
    };
    answer(client, plan, head, work, saying, patience).await
}

/// A rule ends the request.
//= SE-RULES-01
pub(super) async fn ruled<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &Head,
    view: &View<'_>,
    work: &mut Work,
    end: End<'_>,
    patience: Patience,
) -> Ended {
    let status = match end {
        End::Redirect(redirect) => {
            work.text.clear();
            redirect.write_location(view, client.stream.is_secured(), client.local, &mut work.text);
            let location = std::mem::take(&mut work.text);
            let saying = Saying { status: redirect.status, location: Some(&location), ..Saying::default() };
            work.trace.ended("a rule redirects");
            let ended = answer(client, plan, head, work, saying, patience).await;
            work.text = location;
            return ended;
        }
        End::Respond(respond) => {
            work.trace.ended("a rule answers");
            let saying = Saying {
                status: respond.status,
                content: Some(respond.body.as_bytes()),
                content_type: respond.content_type.as_deref().map(str::as_bytes),
                ..Saying::default()
            };
            return answer(client, plan, head, work, saying, patience).await;
        }
        End::Close | End::RateLimited(0) => {
            work.trace.ended("a rule closes the connection");
            return Ended::with(Outcome::Close);
        }
        End::RateLimited(status) => {
            work.trace.ended("the rate of a rule is exceeded");
            status
        }
        End::PathTooLong => {
            work.trace.ended("the path is too long for the service's rules");
            414
        }
        End::PathAmbiguous => {
            work.trace.ended("servers could read the path differently: no rule can judge it");
            400
        }
        End::Proceed => unreachable!("a request that goes on is not ended"),
    };
    answer(client, plan, head, work, Saying { status, ..Saying::default() }, patience).await
}

/// The core found no server: the pool's way of saying so.
#[expect(clippy::too_many_arguments, reason = "called once: the end of the loop over servers")]
pub(super) async fn refused<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &Head,
    work: &mut Work,
    route: &Route,
    verdict: Verdict,
    last: Option<Failure>,
    patience: Patience,
) -> Ended {
    let pool_metrics = &route.counts;
    if let Some(failure) = last {
        // A server was asked and failed: that is what the client learns.
        work.trace.ended(failure.why);
        let saying = Saying { status: failure.status, ..Saying::default() };
        return answer(client, plan, head, work, saying, patience).await;
    }
    pool_metrics.no_server.inc();
    let status = match verdict {
        Verdict::Reject { status, why } => {
            if why == Refusal::QueueFull {
                pool_metrics.queue_full.inc();
            }
            work.trace.ended(why.as_str());
            status
        }
        Verdict::Close => {
            work.trace.ended("no server can serve, and the pool closes then");
            if !is_call(head) {
                return Ended::with(Outcome::Close);
            }
            503
        }
        _ => {
            work.trace.ended("another site should serve");
            503
        }
    };
    let action = route.pool.borrow().fail_action().clone();
    match &action {
        FailAction::LocalResponse { status: own, .. } | FailAction::Redirect { status: own, .. }
            if *own == status =>
        {
            failed_by(client, plan, head, work, &action, patience).await
        }
        _ => answer(client, plan, head, work, Saying { status, ..Saying::default() }, patience).await,
    }
}

/// Says whether a request is a call of gRPC. Its connection carries others' calls as well: it is told of a failure, where
/// another request's connection would be closed.
//= GRPC-STATUS-01
fn is_call(head: &Head) -> bool {
    grpc::is_request(head.bytes.filled(), &head.request)
}

/// Answers in place of a server; keeps the connection if the request had no content.
pub(super) async fn answer<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    head: &Head,
    work: &mut Work,
    saying: Saying<'_>,
    patience: Patience,
) -> Ended {
    let request = &head.request;
    let requests_max = client.service(plan).requests_max;
    let more = requests_max == 0 || client.requests.get() < requests_max;
    let keep = request.keep_alive && !request.framing.has_content() && more && !client.is_leaving();
    // The time for the whole request may be over; the answer that says so gets time of its own.
    let late = patience.is_over(client.worker.rt.now());
    let patience = if late { Patience::endless() } else { patience };
    let grpc = is_call(head).then(|| match late {
        true => grpc::Status::DeadlineExceeded,
        false => grpc::Status::of_http(saying.status),
    });
    let saying = Saying { keep, grpc, ..saying };
    let said = say(client, plan, Some(request), saying, &mut work.to_client, &mut work.trace, patience).await;
    let outcome = match (said, keep) {
        (true, true) => Outcome::Keep,
        (true, false) => Outcome::Linger,
        (false, _) => Outcome::Close,
    };
    Ended { outcome, consumed: request.len, leftover: None }
}
