//! The Controller's process.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::api::Api;

/// It answers within this, however many objects it reads.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A Controller that runs; its end is this value's.
pub struct Process {
    child: Child,
    program: PathBuf,
    data: PathBuf,
    /// Where its API is.
    pub api: SocketAddr,
    /// Where engines call.
    pub engines: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Process {
    /// Starts one over this folder, and gives with it how long it took until it answered.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(program: &Path, data: &Path) -> anyhow::Result<(Self, Duration)> {
        std::fs::create_dir_all(data)?;
        let (api, engines) = (free()?, free()?);
        let began = Instant::now();
        let child = spawn(program, data, api, engines)?;
        let mut process = Process { child, program: program.to_owned(), data: data.to_owned(), api, engines };
        let took = process.answers(began).await?;
        Ok((process, took))
    }

    /// Stops it by a signal that it may answer (SIGTERM), or by one that it may not, starts another one over what it has left
    /// behind, and gives how long that took until it answered.
    ///
    /// # Errors
    /// It does not stop, or does not come up.
    pub async fn again(&mut self, is_killed: bool) -> anyhow::Result<Duration> {
        let signal = if is_killed { libc::SIGKILL } else { libc::SIGTERM };
        let done =
            Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status()?;
        if !done.success() {
            bail!("the Controller has no process any more");
        }
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                bail!("the Controller does not stop");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        if !is_killed && (!status.success() || status.signal().is_some()) {
            bail!("the Controller ended with {status}");
        }
        let began = Instant::now();
        self.child = spawn(&self.program, &self.data, self.api, self.engines)?;
        self.answers(began).await
    }

    async fn answers(&mut self, began: Instant) -> anyhow::Result<Duration> {
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("the Controller ended with {status}: see {}", self.data.join("said").display());
            }
            if let Ok(mut api) = Api::open(self.api, &self.data).await
                && api.get("/api/cluster/status").await.is_ok_and(|(status, _)| status == 200)
            {
                return Ok(began.elapsed());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!("the Controller does not answer within {PATIENCE:?}")
    }

    /// The password that a first start has printed; another one of the same folder prints none.
    ///
    /// # Errors
    /// It has printed none.
    pub fn password(&self) -> anyhow::Result<String> {
        let kept = self.data.join("password");
        let said = std::fs::read_to_string(self.data.join("said"))?;
        let line = said.lines().find_map(|line| line.strip_prefix("password: "));
        let word = line.and_then(|line| line.split(' ').next());
        match word {
            Some(word) => {
                std::fs::write(kept, word)?;
                Ok(word.to_owned())
            }
            None => std::fs::read_to_string(kept).context("the Controller has printed no password"),
        }
    }

    /// Its memory now and at most so far, MiB.
    ///
    /// # Errors
    /// It has no process any more.
    pub fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |name: &str| -> anyhow::Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
            let word = line.trim_start_matches(':').split_whitespace().next().context("no number")?;
            Ok(word.parse::<f64>()? / 1024.0)
        };
        Ok((of("VmRSS")?, of("VmHWM")?))
    }

    /// How long it has had a core, milliseconds.
    ///
    /// # Errors
    /// It has no process any more.
    pub fn on_core(&self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            sum += text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1e6;
        }
        Ok(sum)
    }
}

fn spawn(program: &Path, data: &Path, api: SocketAddr, engines: SocketAddr) -> anyhow::Result<Child> {
    let said = File::create(data.join("said"))?;
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(data).arg("--listen").arg(api.to_string());
    command.arg("--listen-engines").arg(engines.to_string());
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    command.spawn().with_context(|| format!("{}", program.display()))
}
