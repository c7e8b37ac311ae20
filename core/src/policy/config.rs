//! Rules as a user writes them.

use alloc::string::String;
use alloc::vec::Vec;

use super::addr::Prefix;

/// The rules of a virtual service, with the groups that they name.
//= POL-CHECK-02
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct PolicyConfig {
    /// Named lists of strings.
    pub string_groups: Vec<StringGroup>,
    /// Named lists of addresses.
    pub address_groups: Vec<AddressGroup>,
    /// The rules, in the order in which they are asked.
    pub rules: Vec<Rule>,
    /// What becomes of paths with an escaped slash, where rules compare paths.
    pub escaped_slashes: EscapedSlashes,
}

/// What becomes of a request whose path has an escaped slash (`%2F`), which some servers take for a separator and some
/// for a byte of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum EscapedSlashes {
    /// It is refused.
    #[default]
    Refuse,
    /// Conditions are asked of both readings, and hold if they hold for one.
    Compare,
}

/// A named list of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct StringGroup {
    /// Its name.
    pub name: String,
    /// Its strings.
    pub values: Vec<String>,
}

/// A named list of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct AddressGroup {
    /// Its name.
    pub name: String,
    /// Its addresses and networks, such as `10.0.0.0/8`.
    pub prefixes: Vec<Prefix>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Rule {
    /// Its name, for logs.
    pub name: String,
    /// False: not asked.
    #[cfg_attr(feature = "serde", serde(default = "yes"))]
    pub enabled: bool,
    /// When it applies: all conditions must hold.
    #[cfg_attr(feature = "serde", serde(default))]
    pub when: Match,
    /// What it does, in order.
    pub then: Vec<Action>,
}

#[cfg(feature = "serde")]
fn yes() -> bool {
    true
}

/// The conditions of a rule; those left out hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Match {
    /// The host, without port; case never counts.
    pub host: Option<TextMatch>,
    /// The path.
    pub path: Option<TextMatch>,
    /// The method; one of these.
    pub method: Option<Vec<String>>,
    /// The whole query, without `?`; a request without one has the empty query.
    pub query: Option<TextMatch>,
    /// Header fields.
    pub header: Vec<FieldMatch>,
    /// Cookies.
    pub cookie: Vec<FieldMatch>,
    /// The client's address.
    pub client: Option<ClientMatch>,
}

/// A condition on a text: it holds if any of the lists has a value for which it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct TextMatch {
    /// It is one of these.
    pub equals: Vec<String>,
    /// It begins with one of these.
    pub begins_with: Vec<String>,
    /// It ends with one of these.
    pub ends_with: Vec<String>,
    /// It contains one of these.
    pub contains: Vec<String>,
    /// It matches one of these globs: `*` any run of characters, `?` one.
    pub glob: Vec<String>,
    /// It is a string of one of these groups.
    pub in_group: Vec<String>,
    /// Letters are compared without case.
    pub ignore_case: bool,
    /// The condition is turned around.
    pub not: bool,
}

/// A condition on header fields or cookies of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct FieldMatch {
    /// The name; of a header in lower case.
    pub name: String,
    /// What a value must be; left out: there is one. With several fields of the name, one must fit; turned
    /// around by `not`, none may.
    #[cfg_attr(feature = "serde", serde(default))]
    pub value: Option<TextMatch>,
    /// There must be no field of the name.
    #[cfg_attr(feature = "serde", serde(default))]
    pub absent: bool,
}

/// A condition on the client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ClientMatch {
    /// It lies in one of these networks.
    pub within: Vec<Prefix>,
    /// It lies in one of these groups.
    pub in_group: Vec<String>,
    /// The condition is turned around.
    pub not: bool,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Action {
    /// Use this pool. The first choice holds.
    Pool(String),
    /// Use this pool group. The first choice holds.
    PoolGroup(String),
    /// Send the client elsewhere; ends the request.
    Redirect(Redirect),
    /// Answer from here; ends the request.
    Respond(Respond),
    /// Close the connection; ends the request.
    Close,
    /// Edit header fields.
    Header(Edit),
    /// Replace the path.
    SetPath(String),
    /// Replace the beginning of the path, where it begins so: (from, to).
    ReplacePrefix(String, String),
    /// Replace the query; empty removes it.
    SetQuery(String),
    /// Let only so many requests pass.
    RateLimit(Rate),
    /// Bind the client by this part of the request; entries live this many seconds.
    Persist(Part, u32),
    /// Hash by this part of the request, for pools with consistent hash by custom string.
    HashBy(Part),
}

/// Where to send a client. What is left out stays as in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Redirect {
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// `http` or `https`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub scheme: Option<String>,
    /// Host, with the port where it is not the usual one.
    #[cfg_attr(feature = "serde", serde(default))]
    pub host: Option<String>,
    /// Path, from the first slash.
    #[cfg_attr(feature = "serde", serde(default))]
    pub path: Option<String>,
    /// False: the query is dropped.
    #[cfg_attr(feature = "serde", serde(default = "yes"))]
    pub keep_query: bool,
}

/// An answer from here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Respond {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Type of the body.
    #[cfg_attr(feature = "serde", serde(default))]
    pub content_type: Option<String>,
    /// The body.
    #[cfg_attr(feature = "serde", serde(default))]
    pub body: String,
}

/// Which message an edit is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum On {
    /// The request to the server.
    #[default]
    Request,
    /// The response to the client.
    Response,
}

/// An edit of header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Edit {
    /// Adds a field: (message, name, value).
    Add(On, String, String),
    /// Replaces all fields of the name by one: (message, name, value).
    Set(On, String, String),
    /// Removes all fields of the name: (message, name).
    Remove(On, String),
}

/// A rate limit: a token bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Rate {
    /// Requests in a period, 1 to 1,000,000.
    pub count: u32,
    /// The period in milliseconds, 1 to 86,400,000.
    pub period_ms: u32,
    /// Requests that may come at once, 1 to 1,000,000; 0: as many as `count`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub burst: u32,
    /// What has a bucket of its own.
    #[cfg_attr(feature = "serde", serde(default))]
    pub per: Per,
    /// Status of the answer to what exceeds the rate; 0 closes the connection. 429 is usual.
    #[cfg_attr(feature = "serde", serde(default = "too_many"))]
    pub status: u16,
}

#[cfg(feature = "serde")]
fn too_many() -> u16 {
    429
}

/// What has a bucket of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Per {
    /// The rule: all its requests together.
    #[default]
    Rule,
    /// Each client address.
    Client,
}

/// A part of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Part {
    /// The first header field of this name (lower case).
    Header(String),
    /// The first cookie of this name.
    Cookie(String),
    /// The first query parameter of this name.
    Query(String),
    /// The path as it was sent.
    Path,
    /// The host.
    Host,
}
