//! What happens to a client whose server is down.

use crate::reason::names;

/// The policy for a persistent client whose server is down: failed its health check, disabled, at its
/// connection limit, or failed in this very request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ServerDown {
    /// The algorithm chooses a new server; the binding moves there, as a new generation.
    //= PERS-DOWN-02
    #[default]
    #[cfg_attr(feature = "serde", serde(alias = "HM_DOWN_PICK_NEW_SERVER"))]
    PickNewServer,
    /// The connection is closed; the binding stays.
    //= PERS-DOWN-03
    #[cfg_attr(feature = "serde", serde(alias = "HM_DOWN_ABORT_CONNECTION"))]
    AbortConnection,
    /// The client stays with its server; the binding expires in its own time.
    //= PERS-DOWN-04
    #[cfg_attr(feature = "serde", serde(alias = "HM_DOWN_CONTINUE_PERSISTENT_SERVER"))]
    ContinuePersistentServer,
}

names!(ServerDown {
    PickNewServer => "pick_new_server",
    AbortConnection => "abort_connection",
    ContinuePersistentServer => "continue_persistent_server",
});

impl ServerDown {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::PickNewServer, Self::AbortConnection, Self::ContinuePersistentServer];

    /// The name in the API of the product whose users we serve.
    pub const fn api_name(self) -> &'static str {
        match self {
            Self::PickNewServer => "HM_DOWN_PICK_NEW_SERVER",
            Self::AbortConnection => "HM_DOWN_ABORT_CONNECTION",
            Self::ContinuePersistentServer => "HM_DOWN_CONTINUE_PERSISTENT_SERVER",
        }
    }

    /// Finds the policy by either name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == name || p.api_name() == name)
    }
}
