//! How one object names another.
//!
//! Clients write `https://host/api/pool/<uuid>`, the same with `#name` behind it, `/api/pool/<uuid>`, `/api/pool?name=p`,
//! `/api/pool/?name=p`, or the uuid alone; some write slashes twice. They are given the first form, as they compare texts.

/// The longest name that a reference may carry, bytes.
const NAME_BYTES_MAX: usize = 1024;

/// What a reference says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The object with this uuid.
    Uuid(String),
    /// The object with this name, in the tenant and the cloud of who refers to it.
    Name(String),
}

/// Why a text is no reference, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub reason: String,
    /// What to write.
    pub fix: String,
}

impl Reference {
    /// Reads a reference to an object of this kind.
    ///
    /// # Errors
    /// It has none of the forms, or names another kind.
    //= API-REF-01
    pub fn read(text: &str, kind: &str) -> Result<Self, Refusal> {
        let refusal = |reason: &str| Refusal {
            reason: reason.to_owned(),
            fix: format!("write /api/{kind}/<uuid> or /api/{kind}?name=<name>"),
        };
        if text.len() > NAME_BYTES_MAX {
            return Err(refusal("the reference is too long"));
        }
        // The name behind `#` is for people.
        let whole = text.split_once('#').map_or(text, |(front, _)| front);
        let path = match whole.split_once("://") {
            Some(("http" | "https", rest)) => rest.split_once('/').map_or("", |(_, path)| path),
            Some(_) => return Err(refusal("this is no address of the API")),
            None => whole,
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut steps = path.split('/').filter(|step| !step.is_empty());
        let (named, uuid) = match (steps.next(), steps.next(), steps.next(), steps.next()) {
            (Some("api"), Some(named), uuid, None) => (named, uuid),
            (Some(uuid), None, None, None) if query.is_empty() && whole == path => (kind, Some(uuid)),
            _ => return Err(refusal("this is no reference")),
        };
        if named != kind {
            let named: String = named.chars().take(64).flat_map(char::escape_default).collect();
            return Err(refusal(&format!("this refers to a {named}, and a {kind} belongs here")));
        }
        if let Some(uuid) = uuid {
            return if is_uuid(uuid) {
                Ok(Reference::Uuid(uuid.to_owned()))
            } else {
                Err(refusal("this is no uuid"))
            };
        }
        let mut names = query.split('&').filter_map(|item| item.strip_prefix("name="));
        match (names.next().and_then(unescaped), names.next()) {
            (Some(name), None) if !name.is_empty() => Ok(Reference::Name(name)),
            _ => Err(refusal("it has neither a uuid nor a name")),
        }
    }
}

/// Says whether this may be the uuid of an object: what may stand in a path as it is.
pub fn is_uuid(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// A query's value as it was meant; `None` if what is escaped is no text.
pub fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test API-REF-01
    #[test]
    fn every_form_that_clients_write_is_read() {
        let uuid = Ok(Reference::Uuid("pool-1a".to_owned()));
        let name = Ok(Reference::Name("a b/c".to_owned()));
        for text in [
            "https://host/api/pool/pool-1a",
            "https://host:8443/api/pool/pool-1a#a b",
            "https://host//api//pool/pool-1a/",
            "/api/pool/pool-1a",
            "/api/pool/pool-1a#name",
            "pool-1a",
        ] {
            assert_eq!(Reference::read(text, "pool"), uuid, "{text}");
        }
        for text in [
            "/api/pool?name=a+b%2fc",
            "/api/pool/?name=a%20b/c",
            "https://h/api/pool?include_name&name=a b/c",
        ] {
            assert_eq!(Reference::read(text, "pool"), name, "{text}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for text in [
            "",
            "/",
            "#x",
            "/api/pool",
            "/api/pool?name=",
            "/api/pool?name=%zz",
            "/api/pool?name=a&name=b",
            "/api/virtualservice/virtualservice-1",
            "/api/pool/../user",
            "/api/pool/pool-1/runtime",
            "ftp://host/api/pool/pool-1",
            "pool-1?name=x",
            "..",
            "a b",
        ] {
            let refusal = Reference::read(text, "pool").expect_err(text);
            assert!(refusal.fix.contains("/api/pool"), "{text}: {refusal:?}");
        }
        assert!(Reference::read(&"x".repeat(5000), "pool").is_err());
    }
}
