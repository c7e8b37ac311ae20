//! Asks a running engine through its admin socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_host_uring::control::admin::Request;
use forebay_host_uring::control::refused::{Code, Refused};
use serde_json::Value;

use super::args::{Ask, Output};
use super::{Failure, exit, paths};

/// Asks and shows the answer in the wanted form.
pub fn show(ask: &Ask, request: &Request, table: impl Fn(&Value) -> String) -> Result<(), Failure> {
    let socket = socket(ask)?;
    let data = exchange(&socket, request, Duration::from_secs(ask.timeout_s))?;
    let text = match ask.output {
        Output::Json => format!("{data}\n"),
        Output::Table => table(&data),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has read enough (`| head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// The admin socket that is asked.
//= OBS-CLI-02
pub fn socket(ask: &Ask) -> Result<PathBuf, Failure> {
    if let Some(socket) = &ask.socket {
        return Ok(socket.clone());
    }
    let Some(config) = &ask.config else { return Ok(PathBuf::from("forebay-se.sock")) };
    let unread = |error: std::io::Error| {
        let code = match error.kind() {
            ErrorKind::PermissionDenied => exit::NO_PERMISSION,
            _ => exit::NOT_FOUND,
        };
        let fix = "correct the path, or name the engine's socket with --socket";
        Failure::new(code, format!("{}: {error}", config.display()), fix)
    };
    let mut text = Vec::new();
    let most = forebay_snapshot::limits::DOCUMENT_BYTES_MAX as u64;
    std::fs::File::open(config).and_then(|file| file.take(most).read_to_end(&mut text)).map_err(unread)?;
    // Whatever else is wrong with the file: the engine has the last good one and can be asked.
    let socket = forebay_snapshot::admin_socket(&String::from_utf8_lossy(&text));
    Ok(paths::from_folder_of(config, &socket))
}

/// Asks; once more if in this moment another process takes over, which answers at the same socket, or if the process that
/// had taken the question ended without an answer, and asking twice does no harm.
///
/// # Errors
/// Nobody answers, or refuses.
//= UPG-DOOR-01
pub fn exchange(socket: &Path, request: &Request, patience: Duration) -> Result<Value, Failure> {
    let harmless = !matches!(request, Request::Upgrade {} | Request::Fault { .. });
    let answered = match ask_once(socket, request, patience)? {
        Some(Err(refused)) if refused.code == Code::Moved => ask_once(socket, request, patience)?,
        None if harmless => ask_once(socket, request, patience)?,
        answered => answered,
    };
    let unanswered = || {
        Failure::new(
            exit::UNREACHABLE,
            format!(
                "{}: the engine ended the connection without an answer; whether it has read the question is not known",
                socket.display()
            ),
            "it stops, or another process takes over: look at the engine's log, then ask again",
        )
    };
    answered.ok_or_else(unanswered)?.map_err(|refused| {
        let code = match refused.code {
            Code::Failed | Code::Moved => exit::FAILED,
            Code::Usage => exit::USAGE,
            Code::NotFound => exit::NOT_FOUND,
            Code::NotAllowed => exit::NO_PERMISSION,
        };
        Failure::new(code, refused.reason, refused.fix)
    })
}

/// `None`: the engine ended the connection and said nothing.
fn ask_once(
    socket: &Path,
    request: &Request,
    patience: Duration,
) -> Result<Option<Result<Value, Refused>>, Failure> {
    let shown = socket.display();
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(
            exit::NO_PERMISSION,
            format!("{shown}: you may not ask this engine"),
            "run it as the engine's user",
        ),
        _ => Failure::new(
            exit::UNREACHABLE,
            format!("{shown}: no engine answers there ({error})"),
            "start one with forebay-se run, or name its socket with --socket or --config",
        ),
    })?;
    let late = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::new(
            exit::TIME_OUT,
            format!("{shown}: no answer within {} s", patience.as_secs()),
            "look at the engine's log; raise --timeout-s",
        ),
        _ => Failure::new(exit::UNREACHABLE, format!("{shown}: {error}"), ""),
    };
    stream.set_read_timeout(Some(patience)).map_err(late)?;
    stream.set_write_timeout(Some(patience)).map_err(late)?;
    let mut line =
        serde_json::to_string(request).map_err(|e| Failure::new(exit::FAILED, e.to_string(), ""))?;
    line.push('\n');
    let mut answer = String::new();
    let said = stream.write_all(line.as_bytes()).and_then(|()| BufReader::new(stream).read_line(&mut answer));
    let ended = match said.as_ref().map_err(std::io::Error::kind) {
        Ok(_) => answer.is_empty(),
        Err(kind) => matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
    };
    if ended {
        return Ok(None);
    }
    said.map_err(late)?;
    let mut answer: Value = serde_json::from_str(&answer).map_err(|_| {
        Failure::new(
            exit::UNREACHABLE,
            format!("{shown}: the answer is cut short"),
            "look at the engine's log",
        )
    })?;
    if answer["ok"] == Value::Bool(true) {
        return Ok(Some(Ok(answer["data"].take())));
    }
    let refused: Refused = serde_json::from_value(answer["error"].take())
        .map_err(|_| Failure::new(exit::UNREACHABLE, format!("{shown}: this is no engine's answer"), ""))?;
    Ok(Some(Err(refused)))
}
