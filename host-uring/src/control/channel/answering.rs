//! What the Controller asks, answered as at the admin socket.

use std::sync::Arc;
use std::time::Duration;

use forebay_wire::limits::ANSWER_BYTES_MAX;
use forebay_wire::proto::{Answer, FromEngine, Question, from_engine};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::control::admin::{self, Hall, Request};
use crate::control::overrides::Asker;
use crate::control::refused::{Code, Refused};

/// An answer takes no longer than a comparison with every other engine may.
const PATIENCE: Duration = Duration::from_secs(35);

/// Answers in its own time; whoever asked has a bound on how many questions are open.
//= CHAN-ASK-01
pub fn answer(hall: Arc<Hall>, question: Question, send: mpsc::Sender<FromEngine>) {
    tokio::spawn(async move {
        let answered = tokio::time::timeout(PATIENCE, answered(&hall, &question.request)).await;
        let answered = answered.unwrap_or_else(|_| {
            refused(Code::Failed, format!("it took longer than {} s", PATIENCE.as_secs()), "ask again")
        });
        let mut text = answered.to_string();
        if text.len() > ANSWER_BYTES_MAX {
            let reason = format!("the answer has {} bytes, and {ANSWER_BYTES_MAX} are the most", text.len());
            text = refused(Code::Usage, reason, "ask for less, by a filter").to_string();
        }
        let answer = Answer { number: question.number, answer: text };
        // The stream may have ended.
        let _ = send.send(FromEngine { said: Some(from_engine::Said::Answer(answer)) }).await;
    });
}

async fn answered(hall: &Hall, request: &str) -> Value {
    let read: Request = match serde_json::from_str(request) {
        Ok(read) => read,
        Err(error) => {
            return refused(Code::Usage, format!("this is no request: {error}"), "upgrade the engine");
        }
    };
    // What only who sits at the engine may do, and what would end the answer itself.
    if !matches!(
        read,
        Request::Status {}
            | Request::Servers { .. }
            | Request::Persistence(_)
            | Request::Explain(_)
            | Request::Show { .. }
            | Request::ObjsyncVerify {}
            | Request::Server { .. }
            | Request::Close { .. }
    ) {
        return refused(
            Code::NotAllowed,
            "a Controller may not ask for this".to_owned(),
            "do it at the engine",
        );
    }
    admin::answer(request.as_bytes(), hall, Asker { uid: None, pid: None }).await
}

fn refused(code: Code, reason: String, fix: &str) -> Value {
    json!({ "ok": false, "error": Refused::new(code, reason, fix) })
}
