//! What is made of a group's secret: the same wherever it is made.

/// Keys and proof of a group.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Keys of tables.
    pub table: [u8; 16],
    /// Sums over tables.
    pub sums: [u8; 16],
    /// What members show one another: who has it belongs to the group and has its secret.
    pub proof: u64,
}

impl Secrets {
    /// Of the secret of a group, as it is written; `sha256` is that function.
    pub fn of(secret: &[u8], group: &str, sha256: impl Fn(&[&[u8]]) -> [u8; 32]) -> Self {
        let made = |what: &[&[u8]]| {
            let hash = sha256(&[&[secret], what].concat());
            let mut made = [0; 16];
            made.copy_from_slice(&hash[..16]);
            made
        };
        let proof = made(&[b"forebay group ", group.as_bytes()]);
        let proof = proof.into_iter().take(8).fold(0, |all, byte| all << 8 | u64::from(byte));
        Self { table: made(&[b"forebay tables"]), sums: made(&[b"forebay sums"]), proof }
    }
}
