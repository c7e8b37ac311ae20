//! Bounds of everything a peer can make us read, each with its reason.

/// Options in `Connection`. Each is compared with every field: without a bound a head of 48 KiB costs millions of
/// comparisons. Real messages have one to three.
pub(crate) const CONNECTION_OPTIONS_MAX: u32 = 32;

/// Bounds for parsing; a copy per application profile.
///
/// All defaults refuse an attack before a server is contacted and pass what browsers and SDKs send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Start line and all field lines, in bytes. 48 KiB: large single-sign-on cookies pass, a buffer stays small.
    pub head_bytes: u32,
    /// Request target in bytes; longer is 414. RFC 9112 recommends at least 8000; 8 KiB are common.
    pub target_bytes: u32,
    /// Method in bytes; longer is 501. The longest registered method has 17.
    pub method_bytes: u32,
    /// One field line without its line end, in bytes; longer is 431. 12 KiB: one large cookie line.
    pub field_bytes: u32,
    /// Field lines of one head. Browsers send about 20; 200 leaves room for chains of proxies. The engine's profile gives
    /// its own number, 256 unless it is configured.
    pub fields: u32,
    /// Empty lines before a request line. Some old clients send one after a body; RFC 9112 asks for at least one.
    pub empty_lines: u32,
    /// Content of one message in bytes; longer is 413. Default: no bound.
    pub body_bytes: u64,
    /// Extension bytes of one chunk. Nobody uses them; 256 bytes tolerates a signature.
    pub chunk_ext_bytes: u32,
    /// Extension bytes of all chunks of one message: cheap bytes that a server never sees must not be endless.
    pub chunk_ext_total_bytes: u32,
    /// Trailer section in bytes. They are held in memory until the message ends.
    pub trailer_bytes: u32,
    /// Trailer field lines.
    pub trailer_fields: u32,
    /// Interim (1xx) responses to one request. 103 and 100 come once or twice; a flood never ends.
    pub interim_responses: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 48 << 10,
            target_bytes: 8 << 10,
            method_bytes: 32,
            field_bytes: 12 << 10,
            fields: 200,
            empty_lines: 4,
            body_bytes: u64::MAX,
            chunk_ext_bytes: 256,
            chunk_ext_total_bytes: 8 << 10,
            trailer_bytes: 8 << 10,
            trailer_fields: 32,
            interim_responses: 16,
        }
    }
}
