//! Records of requests and connections that an engine sends, and what it is answered.

use std::sync::Arc;

use forebay_logs::{Batch, Refused, Sent};
use forebay_wire::limits::LOGS_AHEAD_MAX;
use forebay_wire::lines;
use forebay_wire::proto::{Logs, LogsTaken};
use tokio::sync::mpsc;

use crate::api::App;
use crate::logs::admit;
use crate::store::Store;

/// Of one engine's stream.
pub struct Logging {
    /// Answers that are due; who writes records puts them there.
    say: mpsc::Sender<LogsTaken>,
    due: mpsc::Receiver<LogsTaken>,
    /// Messages that are not answered yet.
    open: usize,
}

impl Default for Logging {
    fn default() -> Self {
        let (say, due) = mpsc::channel(LOGS_AHEAD_MAX);
        Logging { say, due, open: 0 }
    }
}

impl Logging {
    /// Has the records of a message written; it is answered when they are.
    ///
    /// # Errors
    /// The engine does not keep to what was agreed.
    //= LOG-TAKE-01
    pub fn take<S: Store + 'static>(
        &mut self,
        app: &Arc<App<S>>,
        engine: &str,
        logs: &Logs,
    ) -> Result<(), String> {
        if self.open >= LOGS_AHEAD_MAX {
            return Err("the engine sends records without waiting for answers".to_owned());
        }
        self.open += 1;
        let (number, say) = (logs.number, self.say.clone());
        // There is room for as many as are open.
        let answer = move |is_taken: bool| {
            let _ = say.try_send(LogsTaken { number, again: !is_taken });
        };
        let Some(kept) = &app.logs else {
            answer(true);
            return Ok(());
        };
        // What the engine may tell of is not known yet.
        if !app.engines.get(engine).is_some_and(|engine| engine.given.is_known()) {
            answer(false);
            return Ok(());
        }
        let lines = match lines::unpack(logs) {
            Ok(lines) => lines,
            Err(error) => {
                tracing::warn!(event = "ENGINE_LOGS_ODD", engine, %error, "records of an engine cannot be read: they are lost");
                answer(true);
                return Ok(());
            }
        };
        let again = answer.clone();
        // An older engine does not say which process it is.
        let sent = (logs.process != 0).then(|| Sent {
            engine: engine.to_owned(),
            process: logs.process,
            number,
            oldest: logs.oldest,
        });
        let batch = Batch { lines, admit: Some(admit(app, engine)), done: Some(Box::new(answer)), sent };
        match kept.try_offer(batch) {
            Ok(()) => {}
            Err((Refused::Busy, _)) => again(false),
            // A message has less than a batch may have.
            Err((Refused::TooLong, _)) => again(true),
        }
        Ok(())
    }

    /// The next answer.
    pub async fn taken(&mut self) -> LogsTaken {
        match self.due.recv().await {
            Some(taken) => {
                self.open = self.open.saturating_sub(1);
                taken
            }
            // One end is ours.
            None => std::future::pending().await,
        }
    }
}
