//! Rule ids and refusals.

use core::fmt;

macro_rules! rules {
    ($($variant:ident = $id:literal, $status:literal, $text:literal;)*) => {
        /// The rule that a message broke; `docs/spec/http1.md` says it in full.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum RuleId {
            $(#[doc = $text] $variant,)*
        }

        impl RuleId {
            /// All rules that can refuse a message.
            pub const ALL: &[RuleId] = &[$(RuleId::$variant),*];

            /// Returns the id as written in `docs/spec/http1.md`.
            pub const fn id(self) -> &'static str {
                match self { $(RuleId::$variant => $id,)* }
            }

            /// Returns what was wrong, for logs: lower case, no full stop.
            pub const fn text(self) -> &'static str {
                match self { $(RuleId::$variant => $text,)* }
            }

            /// Returns the status to answer when a request breaks the rule. (A response that does is a 502.)
            pub const fn status(self) -> u16 {
                match self { $(RuleId::$variant => $status,)* }
            }
        }
    };
}

rules! {
    BareLf = "H1-LINE-01", 400, "line ends with LF without CR";
    BareCr = "H1-LINE-02", 400, "CR without LF";
    EmptyLines = "H1-LINE-03", 400, "too many empty lines before the start line";
    RequestLine = "H1-REQ-01", 400, "request line is not method, target and version with single spaces";
    MethodBytes = "H1-REQ-02", 400, "method is not a token";
    MethodLength = "H1-REQ-03", 501, "method is too long";
    VersionSyntax = "H1-REQ-04", 400, "malformed HTTP version";
    VersionNumber = "H1-REQ-05", 505, "HTTP version is not 1.0 or 1.1";
    TargetBytes = "H1-TARGET-01", 400, "byte not allowed in a request target";
    TargetLength = "H1-TARGET-02", 414, "request target is too long";
    TargetForm = "H1-TARGET-03", 400, "request target has no known form";
    TargetAsterisk = "H1-TARGET-04", 400, "asterisk-form with a method other than OPTIONS";
    TargetConnect = "H1-TARGET-05", 501, "CONNECT is not offered";
    TargetScheme = "H1-TARGET-06", 400, "absolute-form with a scheme other than http or https";
    TargetAuthority = "H1-TARGET-07", 400, "invalid authority in absolute-form";
    TargetEscape = "H1-TARGET-08", 400, "malformed or zero percent escape in the path";
    HostMissing = "H1-HOST-01", 400, "no Host field";
    HostRepeated = "H1-HOST-02", 400, "more than one Host field";
    HostInvalid = "H1-HOST-03", 400, "invalid Host";
    FieldName = "H1-FIELD-01", 400, "field name is empty or not a token";
    FieldColon = "H1-FIELD-02", 400, "whitespace between field name and colon";
    FieldFold = "H1-FIELD-03", 400, "folded field line or whitespace before the first field";
    FieldValue = "H1-FIELD-04", 400, "control byte in a field value";
    FieldNoColon = "H1-FIELD-05", 400, "field line without colon";
    FieldLength = "H1-FIELD-06", 431, "field line is too long";
    FieldCount = "H1-FIELD-07", 431, "too many field lines";
    HeadLength = "H1-FIELD-08", 431, "head is too long";
    LengthWithEncoding = "H1-FRAME-01", 400, "Content-Length together with Transfer-Encoding";
    LengthRepeated = "H1-FRAME-02", 400, "more than one Content-Length";
    LengthInvalid = "H1-FRAME-03", 400, "Content-Length is not a number of at most 2^63-1";
    EncodingMalformed = "H1-FRAME-04", 400, "Transfer-Encoding is not exactly one final chunked";
    EncodingUnknown = "H1-FRAME-05", 501, "transfer coding other than chunked";
    EncodingVersion = "H1-FRAME-06", 400, "Transfer-Encoding in an HTTP/1.0 message";
    BodyLength = "H1-FRAME-07", 413, "content is too long";
    TraceBody = "H1-FRAME-08", 400, "TRACE with content";
    ChunkSize = "H1-CHUNK-01", 400, "invalid chunk size";
    ChunkLine = "H1-CHUNK-02", 400, "chunk line does not end with CRLF";
    ChunkData = "H1-CHUNK-03", 400, "chunk data is not followed by CRLF";
    ChunkExtension = "H1-CHUNK-04", 400, "malformed chunk extension";
    ChunkExtensionLength = "H1-CHUNK-05", 400, "too many chunk extension bytes";
    TrailerLength = "H1-CHUNK-06", 431, "trailer section is too long";
    Truncated = "H1-CHUNK-07", 400, "message ended before its announced end";
    Connection = "H1-CONN-01", 400, "Connection is not a list of at most 32 tokens";
    Expectation = "H1-EXPECT-01", 417, "expectation other than 100-continue";
    MaxForwards = "H1-MAXFWD-01", 400, "invalid Max-Forwards";
    StatusLine = "H1-RESP-01", 502, "malformed status line";
    StatusRange = "H1-RESP-02", 502, "status below 100 or above 599";
    ReasonBytes = "H1-RESP-03", 502, "control byte in the reason phrase";
    SwitchUnasked = "H1-RESP-04", 502, "101 that was not asked for";
    InterimFlood = "H1-RESP-05", 502, "too many interim responses";
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id(), self.text())
    }
}

/// A message that was refused. The connection it came on cannot be used further: its framing is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Status for the client: of the rule for a request, 502 for a response.
    pub status: u16,
    /// The rule that was broken.
    pub rule: RuleId,
    /// Always true: close the connection after the answer.
    pub close: bool,
}

impl Reject {
    pub(crate) fn request(rule: RuleId) -> Reject {
        Reject { status: rule.status(), rule, close: true }
    }

    /// Returns the same refusal for a message that a server sent: the client gets a 502.
    pub fn by_server(self) -> Reject {
        Reject { status: 502, ..self }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.rule)
    }
}

impl core::error::Error for Reject {}
