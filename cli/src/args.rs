//! What can be typed: one definition feeds parsing, completions and the man page.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use forebay_model::{Kind, kinds as object_kinds};

use crate::objects::kinds;

/// The kind of object that names the Controllers.
const CLUSTER: &str = "cluster";
/// The kind of object that a service engine is.
const ENGINE: &str = "serviceengine";

/// A software-defined application load balancer.
#[derive(Parser)]
#[command(name = "forebay", version, propagate_version = true)]
pub struct Cli {
    /// Form of what is printed on standard output
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// The Controller, as at `forebay login`; the default is FOREBAY_CONTROLLER, or the one that you logged in at last
    #[arg(long, global = true, value_name = "HOST:PORT", help_heading = "The Controller")]
    pub controller: Option<String>,
    /// The tenant whose objects are meant; the default is FOREBAY_TENANT, or admin
    #[arg(long, global = true, value_name = "NAME", help_heading = "The Controller")]
    pub tenant: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Form of the answers on standard output.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines and tables for people
    #[value(alias = "table")]
    Text,
    /// One JSON document per line, stable and complete
    Json,
    /// YAML, complete
    Yaml,
    /// Names of objects, one on a line
    Name,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Run a Controller and two service engines with servers behind them, on loopback, until Ctrl-C
    Up(Up),
    /// End what `forebay up` runs and remove what it has made; lists all of it
    Down(Down),
    /// Run one demo HTTP server
    DemoServer(DemoServer),
    /// Log in at a Controller: its certificate's fingerprint is compared and remembered, and a token, never a password
    Login(Login),
    /// Forget a login, and have the Controller forget its token
    Logout,
    /// Make the Controller's objects what files say (YAML or JSON: a list for each kind), in the order that they need
    Apply {
        /// Files; `-` is standard input
        #[arg(short, long = "file", value_name = "FILE", required = true)]
        files: Vec<String>,
        /// Say what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Wait until the virtual services are up
        #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = time)]
        wait: Option<Duration>,
    },
    /// Say what `apply` would change; exit code 8 if that is anything
    Diff {
        /// Files; `-` is standard input
        #[arg(short, long = "file", value_name = "FILE", required = true)]
        files: Vec<String>,
    },
    /// Write objects as a file for `apply`: those that somebody made or changed
    Export {
        /// Kinds of objects; all without one
        kinds: Vec<String>,
        /// Also what is as it was at the first start
        #[arg(long)]
        all: bool,
    },
    /// Let one more service engine serve a virtual service
    Scaleout(Scale),
    /// Let one service engine less serve a virtual service: its clients have time to end
    Scalein(Scale),
    /// Let another service engine serve a virtual service in the place of one
    Migrate(Scale),
    /// Make another service engine, of those that serve a virtual service, its primary
    Switchover(Scale),
    /// Show requests and connections of a virtual service, as its engines have told of them
    Logs(Logs),
    /// The Avi shell: configure, show, delete; reads commands from standard input if that is no terminal
    Shell,
    /// List the kinds of objects: `forebay KIND list|get|create|set|delete|fields`
    Kinds,
    /// Print the completion script of a shell
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Options of `forebay up`.
#[derive(Args)]
pub struct Up {
    /// A server to put behind the service engines, instead of the demo servers; repeatable
    #[arg(long = "server", value_name = "HOST:PORT")]
    pub servers: Vec<String>,
    /// Send a load through them, scale out and stop one demo server and one engine in the middle, report, and end
    #[arg(long)]
    pub once: bool,
    /// Go on in the background: returns when it is ready, and `forebay down` ends it
    #[arg(long, short, conflicts_with = "once")]
    pub detach: bool,
    /// Without a Controller: both engines serve from the start, by files in the data folder
    #[arg(long)]
    pub files: bool,
    /// Data folder: one that is empty, not there yet, or of an earlier run; the default is the first free one below the
    /// user's state folder
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// First port to try for the virtual services; a taken one is passed over, and said
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub port: u16,
    /// Workers of each service engine
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Clients of `--once`, shared out evenly over the four services
    #[arg(long, default_value_t = 320, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=40_000))]
    pub clients: u32,
    /// Requests of each client of `--once`
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=10_000))]
    pub requests: u32,
    /// The service engines' program; the default is `forebay-se` beside this program
    #[arg(long, value_name = "FILE")]
    pub engine: Option<PathBuf>,
    /// The Controller's program; the default is `forebay-controller` beside this program
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub controller_program: Option<PathBuf>,
}

/// Options of `forebay down`.
#[derive(Args)]
pub struct Down {
    /// The run of this data folder; the default is every one that named none
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// End it, and leave its data folder as it is
    #[arg(long)]
    pub keep_data: bool,
}

/// What is asked of the engines of a virtual service.
#[derive(Args)]
pub struct Scale {
    /// The virtual service
    pub name: String,
    /// The engine that is to serve it; the best one without
    #[arg(long, value_name = "ENGINE")]
    pub to: Option<String>,
    /// The engine that is to leave it; the last one (of a migration: the primary) without
    #[arg(long, value_name = "ENGINE")]
    pub from: Option<String>,
    /// Which of its addresses; not needed where it has one
    #[arg(long, value_name = "ID")]
    pub vip_id: Option<String>,
    /// Wait until it is done, and say each state on the way
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = time)]
    pub wait: Option<Duration>,
}

/// Which requests and connections.
#[derive(Args)]
pub struct Logs {
    /// The virtual service
    pub name: String,
    /// A condition: FIELD=VALUE, or != > >= < <= ~ (contains) ^ (begins with); repeatable, all of them hold
    #[arg(short, long = "filter", value_name = "CONDITION")]
    pub filters: Vec<String>,
    /// Only those that deserve a look: errors, resets, moved clients
    #[arg(long)]
    pub significant: bool,
    /// How far back
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub since: Duration,
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
    /// Go on with those that come, until Ctrl-C
    #[arg(long, conflicts_with = "top")]
    pub follow: bool,
    /// The most frequent values of a field instead
    #[arg(long, value_name = "FIELD")]
    pub top: Option<String>,
}

/// Options of `forebay demo-server`.
#[derive(Args)]
pub struct DemoServer {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Name that the server tells in every answer
    #[arg(long, default_value = "demo")]
    pub name: String,
    /// Take the next free port if this one is taken
    #[arg(long)]
    pub or_next: bool,
}

/// Options of `forebay login`.
#[derive(Args)]
pub struct Login {
    /// The Controller
    #[arg(value_name = "HOST:PORT")]
    pub at: String,
    /// Who
    #[arg(long, default_value = "admin", value_name = "NAME")]
    pub user: String,
    /// The fingerprint that the Controller's certificate must have, as it prints it at its start; without it you are asked
    #[arg(long, value_name = "SHA256:DIGITS")]
    pub fingerprint: Option<String>,
    /// Read the password from standard input, up to the end of the line
    #[arg(long)]
    pub password_stdin: bool,
    /// How long the login is good
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=8760))]
    pub hours: u32,
}

/// What can be done with the objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    /// List them
    List,
    /// Show some by their names
    Get,
    /// Make one: NAME FIELD=VALUE...
    Create,
    /// Change one: NAME FIELD=VALUE... LIST+=ENTRY LIST-=ENTRY FIELD-
    Set,
    /// Delete some by their names
    Delete,
    /// Say which fields there are, and what they take
    Fields,
}

impl Verb {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Verb::List => "list",
            Verb::Get => "get",
            Verb::Create => "create",
            Verb::Set => "set",
            Verb::Delete => "delete",
            Verb::Fields => "fields",
        }
    }
}

/// What is asked of the objects of a kind.
#[derive(Args)]
pub struct Asked {
    /// What to do
    #[arg(value_enum)]
    pub verb: Verb,
    /// Names, or a name and changes
    #[arg(value_name = "NAME|CHANGE")]
    pub words: Vec<String>,
    /// With `list`: only those that fit, as in name.contains=web; repeatable
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub filters: Vec<String>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until the virtual service is up
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = time)]
    pub wait: Option<Duration>,
}

/// What is done with the Controllers themselves, beside what is done with the object that names them.
#[derive(Subcommand)]
pub enum OfCluster {
    /// Show each Controller: who leads, who is heard, since when
    Show,
    /// Have further Controllers, NAME=ADDRESS each, and print the token by which each joins
    Add {
        /// The Controllers, as a=10.0.0.1; while there is only one, that one as well
        #[arg(required = true, value_name = "NAME=ADDRESS")]
        nodes: Vec<String>,
    },
    /// Have Controllers no more: what they had stays with the others
    Remove {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// What is done for service engines, beside what is done with their objects.
#[derive(Subcommand)]
pub enum OfEngines {
    /// Print a token by which one new service engine becomes a member
    Token {
        /// The group that it comes to; without, Default-Group
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
        /// How long the token is good; without, as long as the Controller says
        #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=8760))]
        hours: Option<u32>,
    },
}

/// A time as in `30`, `30s`, `2m` or `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    match number.parse::<u64>() {
        Ok(number @ 1..=86_400) if factor > 0 => Ok(Duration::from_secs(number * factor)),
        _ => Err("write a time as 30s, 2m or 1h".to_owned()),
    }
}

/// What was typed.
pub enum Typed {
    /// A command of its own.
    Command(Box<Cli>),
    /// Something about objects of a kind.
    Objects(Common, &'static Kind, Asked),
    /// Something about the Controllers.
    Cluster(Common, OfCluster),
    /// Something about service engines.
    Engines(Common, OfEngines),
}

/// What every command takes.
pub struct Common {
    /// See [`Cli::output`].
    pub output: Output,
    /// See [`Cli::controller`].
    pub controller: Option<String>,
    /// See [`Cli::tenant`].
    pub tenant: Option<String>,
}

/// Every command, those of the kinds included.
pub fn command() -> clap::Command {
    let kinds = object_kinds().map(|kind| {
        let about = format!("Objects of kind {}", kind.name);
        // The list of commands names those that have a short name.
        let mut command = Asked::augment_args(clap::Command::new(kind.path)).about(about);
        if kind.path == CLUSTER {
            command = OfCluster::augment_subcommands(command)
                .about("The Controllers of a site: show, add and remove them")
                .args_conflicts_with_subcommands(true)
                .subcommand_negates_reqs(true);
        }
        if kind.path == ENGINE {
            command = OfEngines::augment_subcommands(command)
                .about("Service engines: their objects, and a token for a new one")
                .args_conflicts_with_subcommands(true)
                .subcommand_negates_reqs(true);
        }
        match kinds::alias(kind) {
            Some(alias) => command.visible_alias(alias),
            None if ["pool", CLUSTER].contains(&kind.path) => command,
            None => command.hide(true),
        }
    });
    Cli::command().subcommands(kinds)
}

/// Reads what was typed; prints help and mistakes by itself, and ends then.
pub fn typed() -> Typed {
    let matches = command().get_matches();
    if let Some((name, inner)) = matches.subcommand()
        && let Some(kind) = forebay_model::kind(name)
    {
        let one = |name: &str| matches.get_one::<String>(name).cloned();
        let output = matches.get_one("output").copied().unwrap_or(Output::Text);
        let common = Common { output, controller: one("controller"), tenant: one("tenant") };
        if inner.subcommand().is_some() && kind.path == ENGINE {
            let asked = OfEngines::from_arg_matches(inner).unwrap_or_else(|error| error.exit());
            return Typed::Engines(common, asked);
        }
        if inner.subcommand().is_some() {
            let asked = OfCluster::from_arg_matches(inner).unwrap_or_else(|error| error.exit());
            return Typed::Cluster(common, asked);
        }
        let asked = Asked::from_arg_matches(inner).unwrap_or_else(|error| error.exit());
        return Typed::Objects(common, kind, asked);
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    Typed::Command(Box::new(cli))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_well_formed_and_no_kind_hides_one() {
        command().debug_assert();
        let own: Vec<String> =
            Cli::command().get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        for name in own {
            assert!(kinds::find(&name).is_err(), "{name} is a kind of objects too");
        }
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(time("1h"), Ok(Duration::from_secs(3_600)));
        assert!(time("0s").is_err() && time("1d").is_err() && time("").is_err());
    }
}
