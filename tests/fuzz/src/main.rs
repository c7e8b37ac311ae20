//! Searches for inputs that break a promise: builds the targets with coverage counters and runs them under libFuzzer.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;
use forebay_fuzz::{TARGETS, Target};

/// Inputs longer than this teach nothing that shorter ones do not, and cost time.
const INPUT_BYTES_MAX: u32 = 4096;

/// Run fuzz targets for a while
///
/// Without a target, all of them in turn. New inputs that reach new code are kept below `target/fuzz/corpus`;
/// `--keep` copies the few that add to the committed corpus there.
#[derive(Parser)]
struct Args {
    /// The target; see --list
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Afterwards add inputs that reach new code to the committed corpus
    #[arg(long)]
    keep: bool,
    /// Name the targets and stop
    #[arg(long)]
    list: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        for target in TARGETS {
            println!("{:12} {}", target.name, target.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let targets: Vec<&Target> = match &args.target {
        None => TARGETS.iter().collect(),
        Some(name) => match forebay_fuzz::target(name) {
            Some(target) => vec![target],
            None => bail!("no fuzz target is called {name}; `--list` names them"),
        },
    };
    let folders = Folders::new()?;
    let program = folders.build()?;
    let mut broken = Vec::new();
    for target in targets {
        if !folders.search(&program, target, args.seconds)? {
            broken.push(target.name);
            continue;
        }
        if args.keep {
            folders.keep(&program, target)?;
        }
    }
    if broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "fuzz: a promise is broken in {}; the input is below {}: add it to tests/fuzz/corpus with the repair",
        broken.join(", "),
        folders.crashes.display()
    );
    Ok(ExitCode::FAILURE)
}

struct Folders {
    source: PathBuf,
    build: PathBuf,
    crashes: PathBuf,
}

impl Folders {
    fn new() -> Result<Folders> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
        let build = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => PathBuf::from(target),
            None => source.join("../../target"),
        };
        let build = build.join("fuzz");
        let crashes = build.join("crashes");
        std::fs::create_dir_all(&crashes).with_context(|| format!("cannot make {}", crashes.display()))?;
        Ok(Folders { source, build: build.canonicalize()?, crashes: crashes.canonicalize()? })
    }

    /// Builds all targets with coverage counters in every crate of theirs.
    fn build(&self) -> Result<PathBuf> {
        eprintln!("fuzz: building the targets with coverage counters (a minute the first time)");
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--release"])
            .current_dir(self.source.join("guided"))
            .env("CARGO_TARGET_DIR", &self.build)
            // Flags from outside would take the place of the counters.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("the targets do not build; libFuzzer needs a C++ compiler (apt-get install g++)");
        }
        // A target triple stands between the folder and the profile.
        let found = std::fs::read_dir(&self.build)?
            .filter_map(|entry| Some(entry.ok()?.path().join("release/forebay-fuzz-guided")))
            .find(|path| path.is_file());
        found.context("the build left no program")
    }

    fn search(&self, program: &Path, target: &Target, seconds: u32) -> Result<bool> {
        let found = self.build.join("corpus").join(target.name);
        std::fs::create_dir_all(&found)?;
        eprintln!("fuzz: {} for {seconds} s: {}", target.name, target.about);
        let status = self
            .libfuzzer(program, target)
            .arg(format!("-max_total_time={seconds}"))
            .args(["-print_final_stats=1", "-timeout=5", "-rss_limit_mb=1024"])
            .arg(format!("-artifact_prefix={}/{}-", self.crashes.display(), target.name))
            .arg(&found)
            .arg(self.committed(target))
            .status()?;
        Ok(status.success())
    }

    fn keep(&self, program: &Path, target: &Target) -> Result<()> {
        let found = self.build.join("corpus").join(target.name);
        let committed = self.committed(target);
        std::fs::create_dir_all(&committed)?;
        let status = self
            .libfuzzer(program, target)
            .args(["-merge=1", "-use_counters=0"])
            .arg(&committed)
            .arg(&found)
            .status()?;
        if !status.success() {
            bail!("merging into {} failed", committed.display());
        }
        Ok(())
    }

    fn libfuzzer(&self, program: &Path, target: &Target) -> Command {
        let mut command = Command::new(program);
        command.env("FOREBAY_FUZZ_TARGET", target.name);
        command.arg(format!("-max_len={INPUT_BYTES_MAX}"));
        let words = self.source.join("words").join(format!("{}.dict", target.name));
        if words.is_file() {
            command.arg(format!("-dict={}", words.display()));
        }
        command
    }

    fn committed(&self, target: &Target) -> PathBuf {
        self.source.join("corpus").join(target.name)
    }
}
