//! The Avi shell: `configure`, `show`, `delete`, `scaleout`…, by the tables of `model`.
//!
//! At a terminal it has a prompt, history and completion, and goes on after a mistake. From a file or a pipe it reads line
//! after line without a prompt, and ends at the first mistake.

mod commands;
mod complete;
mod editing;
mod words;

use std::cell::RefCell;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use rustyline::error::ReadlineError;

use crate::api::{Api, Failure, Kind};
use crate::objects::verbs::print;
use editing::Editing;

/// The longest line, bytes: a certificate on one line has less.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A shell.
pub struct Shell<'a> {
    api: &'a mut Api,
    editing: Option<Editing>,
}

/// What a line led to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    On,
    End,
}

/// Reads and does lines until there are no more.
///
/// # Errors
/// From a file or pipe: the first mistake.
//= CLI-SHELL-01
pub fn run(api: &mut Api) -> Result<ExitCode, Failure> {
    let shell = Shell { api, editing: None };
    if std::io::stdin().is_terminal() { by_hand(shell) } else { by_script(shell) }
}

fn by_script(mut shell: Shell<'_>) -> Result<ExitCode, Failure> {
    for (at, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|error| Failure::new(Kind::Failed, format!("line {}: {error}", at + 1)))?;
        let done = shell
            .line(&line)
            .map_err(|failure| Failure { what: format!("line {}: {}", at + 1, failure.what), ..failure })?;
        if done == Next::End {
            return Ok(ExitCode::SUCCESS);
        }
    }
    match &shell.editing {
        Some(editing) if editing.is_changed() => Err(Failure::new(
            Kind::Failed,
            format!("it ends within {}: its changes are not saved", editing.place()),
        )),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn by_hand(shell: Shell<'_>) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Kind::Failed, format!("the terminal: {error}"));
    let shell = RefCell::new(shell);
    let mut editor: rustyline::Editor<complete::Completing<'_, '_>, rustyline::history::MemHistory> =
        rustyline::Editor::with_history(rustyline::Config::default(), rustyline::history::MemHistory::new())
            .map_err(|error| failed(&error))?;
    editor.set_helper(Some(complete::Completing { shell: &shell }));
    loop {
        let prompt = shell.borrow().prompt();
        match editor.readline(&prompt) {
            Ok(line) => {
                // A history is a convenience.
                let _ = editor.add_history_entry(&line);
                let done = shell.borrow_mut().line(&line);
                match done {
                    Ok(Next::On) => {}
                    Ok(Next::End) => return Ok(ExitCode::SUCCESS),
                    Err(failure) => eprintln!("{}", crate::objects::show::printable(&failure.to_string())),
                }
            }
            // Ctrl-C drops the line.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(failed(&error)),
        }
    }
}

impl Shell<'_> {
    fn prompt(&self) -> String {
        let place = self.editing.as_ref().map_or_else(String::new, Editing::place);
        format!("[{}:{}]: {place}> ", self.api.user, self.api.at)
    }

    /// Does one line.
    fn line(&mut self, line: &str) -> Result<Next, Failure> {
        if line.len() > LINE_BYTES_MAX {
            return Err(crate::api::usage(format!("a line has at most {LINE_BYTES_MAX} bytes")));
        }
        let all = words::words(line)?;
        let (line, texts) = words::piped(&all)?;
        if line.is_empty() {
            return Ok(Next::On);
        }
        let mut said = String::new();
        let done = self.words(line, &mut said);
        if texts.is_empty() {
            print(&said);
        } else {
            for line in said.lines().filter(|line| texts.iter().all(|text| line.contains(text))) {
                print(&format!("{line}\n"));
            }
        }
        done
    }
}
