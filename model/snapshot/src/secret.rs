//! Keys in a configuration, which no output ever shows.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key of `N` bytes, written in a document as base64 with padding.
///
/// Every way of printing it, serialising included, gives the word `redacted`;
/// [`Secret::expose`] is the one way to the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<const N: usize>([u8; N]);

/// Why a text is no key. Says nothing of the text's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretProblem {
    /// The text is not base64.
    NotBase64,
    /// The text is base64 of another number of bytes.
    Length {
        /// Bytes that the text holds.
        got: usize,
        /// Bytes that the key needs.
        want: usize,
    },
    /// Too few different bytes for a random key (chance below 10⁻⁶ for a random one).
    Weak,
}

impl<const N: usize> Secret<N> {
    /// Wraps key bytes made elsewhere.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// Reads a key from base64.
    ///
    /// # Errors
    /// [`SecretProblem`] when the text is not base64 of `N` bytes, or they are plainly not random.
    pub fn parse(text: &str) -> Result<Self, SecretProblem> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SecretProblem::NotBase64)?;
        let got = bytes.len();
        let bytes: [u8; N] = bytes.try_into().map_err(|_| SecretProblem::Length { got, want: N })?;
        let mut seen = [false; 256];
        bytes.iter().for_each(|b| seen[usize::from(*b)] = true);
        if seen.iter().filter(|s| **s).count() < N / 2 {
            return Err(SecretProblem::Weak);
        }
        Ok(Self(bytes))
    }

    /// The key itself, for the cipher only.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

impl<const N: usize> Serialize for Secret<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("redacted")
    }
}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|problem| serde::de::Error::custom(format!("{problem}")))
    }
}

/// A text that no output ever shows, as a private key in PEM form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("redacted")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl fmt::Display for SecretProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64 => f.write_str("the key is not base64"),
            Self::Length { got, want } => write!(f, "the key has {got} bytes, {want} are needed"),
            Self::Weak => f.write_str("the key repeats too few different bytes to be random"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CFG-SECRET-01
    #[test]
    fn no_form_of_printing_shows_a_secret() {
        let text = "AAECAwQFBgcICQoLDA0ODw==";
        let secret = Secret::<16>::parse(text).expect("sixteen different bytes");
        let json = toml::Value::try_from(&secret).expect("a string");
        assert_eq!(format!("{secret:?} {json}"), "redacted \"redacted\"");
    }

    #[test]
    fn a_key_of_one_repeated_byte_is_weak() {
        let text = STANDARD.encode([7_u8; 32]);
        assert_eq!(Secret::<32>::parse(&text), Err(SecretProblem::Weak));
        assert_eq!(Secret::<32>::parse("AAAA"), Err(SecretProblem::Length { got: 3, want: 32 }));
        assert_eq!(Secret::<32>::parse("?"), Err(SecretProblem::NotBase64));
    }
}
