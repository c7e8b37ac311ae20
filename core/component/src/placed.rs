//! Plans of the core as the contract's records. As `output.rs`, compiled into the component and into the host.

use forebay_core::place::{Candidate, EngineId, Placed, Plan, Reach, Unfit};

use super::output::ip;
use super::planning as wit;

//= COMP-PLAN-01
pub(crate) fn plan(from: &Plan) -> wit::Plan {
    wit::Plan {
        services: from.services.iter().map(placed).collect(),
        engines_wanted: from.engines_wanted,
        engines_usable: from.engines_usable,
    }
}

fn placed(from: &Placed) -> wit::Placed {
    let ids = |engines: &[EngineId]| engines.iter().map(|engine| engine.0).collect();
    wit::Placed {
        id: from.id.0,
        engines: ids(&from.engines),
        waiting: ids(&from.waiting),
        wanted: from.wanted,
    }
}

//= COMP-PLAN-01
pub(crate) fn candidate(from: &Candidate) -> wit::Candidate {
    let reach = |reach| match reach {
        Reach::Interface => wit::Reach::ByInterface,
        Reach::Route => wit::Reach::ByRoute,
    };
    wit::Candidate { engine: from.engine.0, fit: from.fit.map(reach).map_err(unfit) }
}

fn unfit(from: Unfit) -> wit::Unfit {
    match from {
        Unfit::Lost => wit::Unfit::Lost,
        Unfit::Silent => wit::Unfit::Silent,
        Unfit::Disabled => wit::Unfit::Disabled,
        Unfit::NothingNew => wit::Unfit::NothingNew,
        Unfit::Unreached(address) => wit::Unfit::Unreached(ip(address)),
        Unfit::Full { has, most } => wit::Unfit::Full(wit::TooFull { has, most }),
        Unfit::TooMany { weight, most } => wit::Unfit::TooMany(wit::TooMany { weight, most }),
        Unfit::HasIt => wit::Unfit::HasIt,
        Unfit::Leaving => wit::Unfit::Leaving,
        Unfit::Spare => wit::Unfit::Spare,
        Unfit::Refused => wit::Unfit::Refused,
    }
}
