//! `forebay serviceengine token`: by what a new service engine becomes a member.

use serde_json::{Map, Value};

use super::verbs::{path, print};
use super::{kinds, show, yaml};
use crate::api::{Api, Failure};
use crate::args::{OfEngines, Output};

/// Where a Controller lets engines in, by custom.
const DOOR: u16 = 8443;

/// Makes a token. Of text, the token alone stands on standard output: it goes into a file.
///
/// # Errors
/// What the user or the Controller did not like.
//= CLI-TOKEN-01
pub fn run(api: &mut Api, asked: &OfEngines, output: Output) -> Result<(), Failure> {
    let OfEngines::Token { group, hours } = asked;
    let mut content = Map::new();
    if let Some(group) = group {
        let kind = kinds::find("serviceenginegroup")?;
        content.insert("se_group_ref".to_owned(), path(kind, &api.one(kind, group)?).into());
    }
    if let Some(hours) = hours {
        content.insert("hours".to_owned(), (*hours).into());
    }
    let made = api.ask("POST", "/api/se-token", Some(&Value::Object(content)))?;
    match output {
        Output::Json => print(&format!("{made}\n")),
        Output::Yaml => print(&yaml::write(&made)),
        Output::Text | Output::Name => {
            print(&format!("{}\n", made["token"].as_str().unwrap_or_default()));
            let host = api.at.rsplit_once(':').map_or(api.at.as_str(), |(host, _)| host);
            eprintln!(
                "good for one engine, until {}; with it in TOKENFILE, on the engine's machine:\n  \
                 forebay-se run --controller {host}:{DOOR} --state FOLDER --token-file TOKENFILE",
                show::printable(&show::cell(&made["expires_at"]))
            );
        }
    }
    Ok(())
}
