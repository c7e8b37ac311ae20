//! Error codes, and the rules that a peer can break.

use core::fmt;

/// An error code of RFC 9113 7. Codes that are not known count as [`Code::Internal`] when they come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Code {
    /// No error: an end as planned.
    No = 0,
    /// The peer broke the protocol.
    Protocol = 1,
    /// Something of ours failed.
    Internal = 2,
    /// The peer sent more than its window.
    FlowControl = 3,
    /// Our settings were not acknowledged in time.
    SettingsTimeout = 4,
    /// A frame for a stream that is closed.
    StreamClosed = 5,
    /// A frame of a size that it may not have.
    FrameSize = 6,
    /// The stream was not looked at; its request may be sent again.
    RefusedStream = 7,
    /// Nobody wants the answer any more.
    Cancel = 8,
    /// A header block could not be read.
    Compression = 9,
    /// The connection that CONNECT asked for failed.
    Connect = 10,
    /// The peer makes more work than is good.
    EnhanceYourCalm = 11,
    /// The transport's security is not enough.
    InadequateSecurity = 12,
    /// HTTP/1.1 is wanted for this request.
    Http11Required = 13,
}

impl Code {
    /// Reads a code from the wire.
    pub const fn of(number: u32) -> Code {
        use Code::*;
        match number {
            0 => No,
            1 => Protocol,
            3 => FlowControl,
            4 => SettingsTimeout,
            5 => StreamClosed,
            6 => FrameSize,
            7 => RefusedStream,
            8 => Cancel,
            9 => Compression,
            10 => Connect,
            11 => EnhanceYourCalm,
            12 => InadequateSecurity,
            13 => Http11Required,
            _ => Internal,
        }
    }
}

macro_rules! rules {
    ($($variant:ident = $id:literal, $code:ident, $text:literal;)*) => {
        /// A rule of HTTP/2 that a peer broke; `docs/spec/http2.md` says it in full.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Rule {
            $(#[doc = $text] $variant,)*
        }

        impl Rule {
            /// All rules that a peer can break.
            pub const ALL: &[Rule] = &[$(Rule::$variant),*];

            /// Returns the id as written in `docs/spec/http2.md`.
            pub const fn id(self) -> &'static str {
                match self { $(Rule::$variant => $id,)* }
            }

            /// Returns the code that the peer gets.
            pub const fn code(self) -> Code {
                match self { $(Rule::$variant => Code::$code,)* }
            }

            /// Returns what was wrong, for logs: lower case, no full stop.
            pub const fn text(self) -> &'static str {
                match self { $(Rule::$variant => $text,)* }
            }
        }
    };
}

rules! {
    Preface = "H2-CONN-01", Protocol, "no connection preface";
    FirstFrame = "H2-CONN-02", Protocol, "the first frame is not SETTINGS";
    FrameLength = "H2-FRAME-01", FrameSize, "frame is larger than announced";
    FixedLength = "H2-FRAME-02", FrameSize, "frame has not the size of its type";
    Padding = "H2-FRAME-03", Protocol, "padding is longer than the frame";
    StreamZero = "H2-FRAME-04", Protocol, "frame on the wrong kind of stream";
    Interleaved = "H2-FRAME-06", Protocol, "another frame inside a header block";
    ContinuationAlone = "H2-FRAME-07", Protocol, "CONTINUATION without a header block";
    Pushed = "H2-FRAME-08", Protocol, "PUSH_PROMISE that nobody may send";
    SettingsAck = "H2-SET-01", FrameSize, "SETTINGS acknowledgement with content";
    SettingsValue = "H2-SET-02", Protocol, "setting outside its range";
    SettingsWindow = "H2-SET-03", FlowControl, "initial window above 2^31-1";
    SettingsUnasked = "H2-SET-04", Protocol, "acknowledgement of settings that nobody sent";
    StreamNumber = "H2-STREAM-01", Protocol, "stream number of the wrong side or lower than one before";
    StreamIdle = "H2-STREAM-02", Protocol, "frame on a stream that nobody opened";
    StreamClosed = "H2-STREAM-03", StreamClosed, "frame on a stream that is closed";
    StreamEnded = "H2-STREAM-04", StreamClosed, "frame on a stream that its sender ended";
    StreamCount = "H2-STREAM-05", RefusedStream, "more streams than announced";
    SelfDependency = "H2-STREAM-06", Protocol, "stream that depends on itself";
    NewerThanGoAway = "H2-STREAM-07", RefusedStream, "stream begun after the connection was told to end";
    WindowExceeded = "H2-FLOW-01", FlowControl, "more data than the window";
    WindowOverflow = "H2-FLOW-02", FlowControl, "window above 2^31-1";
    WindowZero = "H2-FLOW-03", Protocol, "window update of nothing";
    Integer = "H2-HPACK-01", Compression, "integer cut short or too large";
    HuffmanPadding = "H2-HPACK-02", Compression, "string is not a whole Huffman code";
    TableUpdateLate = "H2-HPACK-04", Compression, "table size changed behind a field";
    TableUpdateLarge = "H2-HPACK-07", Compression, "table size above what was announced";
    TableUpdateMissing = "H2-HPACK-08", Compression, "table size not reduced as announced";
    TableIndex = "H2-HPACK-05", Compression, "index of no table entry";
    StringCut = "H2-HPACK-09", Compression, "string longer than its block";
    FieldName = "H2-FIELD-01", Protocol, "field name is no token in lower case";
    FieldValue = "H2-FIELD-02", Protocol, "control byte or blank at an end of a field value";
    FieldConnection = "H2-FIELD-03", Protocol, "field that concerns one HTTP/1.1 connection";
    FieldTe = "H2-FIELD-04", Protocol, "TE other than trailers";
    PseudoUnknown = "H2-PSEUDO-01", Protocol, "unknown pseudo-header field, or one of the other direction";
    PseudoLate = "H2-PSEUDO-02", Protocol, "pseudo-header field behind a field";
    PseudoRepeated = "H2-PSEUDO-03", Protocol, "pseudo-header field twice";
    PseudoMissing = "H2-PSEUDO-04", Protocol, "pseudo-header field is missing";
    PseudoTrailer = "H2-PSEUDO-05", Protocol, "pseudo-header field in trailers";
    Method = "H2-REQ-01", Protocol, "method is no token";
    Scheme = "H2-REQ-02", Protocol, "scheme is not http or https";
    Path = "H2-REQ-03", Protocol, "path does not begin with a slash";
    AuthorityHost = "H2-REQ-04", Protocol, "authority and Host differ";
    ConnectForm = "H2-REQ-05", Protocol, "malformed CONNECT";
    ConnectProtocol = "H2-REQ-06", Protocol, "extended CONNECT that was not offered";
    LengthField = "H2-BODY-01", Protocol, "content-length is repeated or no number";
    LengthData = "H2-BODY-02", Protocol, "content-length differs from the data";
    NoContent = "H2-BODY-03", Protocol, "data where there is no content";
    TrailersOpen = "H2-BODY-04", Protocol, "trailers that do not end the stream";
    Status = "H2-RESP-01", Protocol, "malformed status";
    StatusSwitch = "H2-RESP-02", Protocol, "101 in HTTP/2";
    InterimEnd = "H2-RESP-03", Protocol, "interim response that ends the stream";
    InterimFlood = "H2-RESP-04", EnhanceYourCalm, "too many interim responses";
    DataFirst = "H2-RESP-05", Protocol, "data before a final response";
    BlockLength = "H2-ABUSE-01", EnhanceYourCalm, "header block is too long or in too many frames";
    ListLength = "H2-ABUSE-02", EnhanceYourCalm, "header list that expands far beyond its bound";
    PeerResets = "H2-ABUSE-03", EnhanceYourCalm, "streams are reset too often";
    OwnResets = "H2-ABUSE-04", EnhanceYourCalm, "too many streams that had to be reset";
    Controls = "H2-ABUSE-05", EnhanceYourCalm, "too many control frames";
    EmptyData = "H2-ABUSE-06", EnhanceYourCalm, "too many empty DATA frames";
    SmallData = "H2-ABUSE-07", EnhanceYourCalm, "too many small DATA frames";
    WindowUpdates = "H2-ABUSE-08", EnhanceYourCalm, "too many window updates";
    PriorityField = "H2-PRIO-01", Protocol, "malformed PRIORITY_UPDATE";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id(), self.text())
    }
}

impl core::error::Error for Rule {}
