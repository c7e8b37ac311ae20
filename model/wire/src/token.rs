//! A token: what an engine needs to become a member, once.
//!
//! It holds the authority's certificate beside the secret, so that the engine trusts nobody else from its first word on.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits::TOKEN_BYTES_MAX;

/// What every token begins with: its form.
const FORM: &str = "forebay1";

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What is good once.
    pub secret: String,
    /// The authority's certificate (DER).
    pub authority: Vec<u8>,
}

/// Why a text is no token. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenProblem;

impl fmt::Display for TokenProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no token; one is made by POST /api/se-token and looks like forebay1.….…")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

impl Token {
    /// As a line of text.
    pub fn text(&self) -> String {
        format!("{FORM}.{}.{}", self.secret, URL_SAFE_NO_PAD.encode(&self.authority))
    }

    /// Reads what [`Token::text`] has written, white space around it aside.
    ///
    /// # Errors
    /// It is no token.
    pub fn read(text: &str) -> Result<Self, TokenProblem> {
        let text = text.trim();
        let mut parts = text.split('.');
        let (Some(FORM), Some(secret), Some(authority), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenProblem);
        };
        let is_secret =
            (16..=128).contains(&secret.len()) && secret.bytes().all(|b| b.is_ascii_alphanumeric());
        let authority = URL_SAFE_NO_PAD.decode(authority).ok().filter(|authority| !authority.is_empty());
        match authority {
            Some(authority) if is_secret && text.len() <= TOKEN_BYTES_MAX => {
                Ok(Token { secret: secret.to_owned(), authority })
            }
            _ => Err(TokenProblem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is() {
        let token = Token { secret: "abcdefghijkmnpqr".to_owned(), authority: vec![1, 2, 255] };
        let text = token.text();
        assert_eq!(Token::read(&format!(" {text}\n")), Ok(token.clone()));
        assert_eq!(format!("{token:?}"), "redacted");
        let long = format!("{text}{}", "A".repeat(TOKEN_BYTES_MAX));
        for bad in [
            "",
            "forebay1",
            "forebay1.short.AQ",
            "forebay2.abcdefghijkmnpqr.AQ",
            "forebay1.abcdefghijkmnpqr.",
            &long,
        ] {
            assert_eq!(Token::read(bad), Err(TokenProblem), "{bad}");
        }
        assert!(Token::read(&format!("{text}.x")).is_err());
        assert!(Token::read(&text.replace("abc", "a-c")).is_err());
    }
}
