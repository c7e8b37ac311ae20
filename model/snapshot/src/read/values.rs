//! The values that can stand in a document: numbers, texts, lists, and what has a text form of its own.

use std::net::{IpAddr, SocketAddr};

use toml::Spanned;
use toml::de::DeValue;

use super::{Number, Read, Reader, printable};
use crate::secret::{Secret, SecretProblem};

macro_rules! read_numbers {
    ($($ty:ty),*) => {$(
        impl Read for $ty {
            const FORM: &'static str = "a whole number";
            fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
                let DeValue::Integer(number) = value.get_ref() else {
                    reader.expected(path, Self::FORM, value.get_ref());
                    return 0;
                };
                let digits = number.as_str().replace('_', "");
                match <$ty>::from_str_radix(&digits, number.radix()) {
                    Ok(number) => number,
                    Err(_) => {
                        // The key's own range says more than that of the number's type.
                        let (low, high) = match &reader.range {
                            Some(range) => (range.start().to_string(), range.end().to_string()),
                            None => (<$ty>::MIN.to_string(), <$ty>::MAX.to_string()),
                        };
                        let shown = printable(number.as_str());
                        reader.report(path, format!("{shown} is outside {low}..{high}"), format!("set it to {low}..{high}"));
                        0
                    }
                }
            }
            fn filler() -> Self { 0 }
        }
        impl Number for $ty {
            fn number(&self) -> Option<i64> { i64::try_from(*self).ok().or(Some(i64::MAX)) }
        }
    )*};
}
read_numbers!(u8, u16, u32, u64, i32, i64);

impl<T: Number> Number for Option<T> {
    fn number(&self) -> Option<i64> {
        self.as_ref().and_then(Number::number)
    }
}

impl Read for bool {
    const FORM: &'static str = "true or false";
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        value.get_ref().as_bool().unwrap_or_else(|| {
            reader.expected(path, Self::FORM, value.get_ref());
            false
        })
    }
    fn filler() -> Self {
        false
    }
}

impl Read for String {
    const FORM: &'static str = "a text";
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        match value.get_ref().as_str() {
            Some(text) => text.to_owned(),
            None => {
                reader.expected(path, Self::FORM, value.get_ref());
                Self::new()
            }
        }
    }
    fn filler() -> Self {
        Self::new()
    }
}

impl<T: Read> Read for Option<T> {
    const FORM: &'static str = T::FORM;
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        Some(T::read(reader, path, value))
    }
    fn filler() -> Self {
        None
    }
}

impl<T: Read> Read for Vec<T> {
    const FORM: &'static str = "a list";
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        let Some(items) = value.get_ref().as_array() else {
            reader.expected(path, Self::FORM, value.get_ref());
            return Self::new();
        };
        let is_of_document = !path.contains(['.', '[']);
        let max = if is_of_document { crate::limits::TABLES_MAX } else { crate::limits::LIST_ITEMS_MAX };
        if items.len() > max {
            let got = items.len();
            reader.report(path, format!("{got} items, at most {max} are taken"), "split the configuration");
            return Self::new();
        }
        let mut out = Self::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}[{index}]");
            reader.place(&at, item.span().start);
            out.push(T::read(reader, &at, item));
        }
        out
    }
    fn filler() -> Self {
        Self::new()
    }
}

/// Values that have a text form of their own.
macro_rules! read_parsed {
    ($($ty:ty, $form:literal, $example:literal, $filler:expr;)*) => {$(
        impl Read for $ty {
            const FORM: &'static str = $form;
            fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
                let Some(text) = value.get_ref().as_str() else {
                    reader.expected(path, Self::FORM, value.get_ref());
                    return Self::filler();
                };
                match text.parse() {
                    Ok(parsed) => parsed,
                    Err(_) => {
                        let shown = printable(text);
                        reader.report(path, format!("\"{shown}\" is not {}", $form), format!("write it like {}", $example));
                        Self::filler()
                    }
                }
            }
            fn filler() -> Self { $filler }
        }
    )*};
}
read_parsed! {
    SocketAddr, "an IP address with a port", "\"192.0.2.1:8080\" or \"[2001:db8::1]:8080\"", SocketAddr::from(([0, 0, 0, 0], 0));
    IpAddr, "an IP address", "\"192.0.2.1\" or \"2001:db8::1\"", IpAddr::from([0, 0, 0, 0]);
    crate::pool::ServerAddress, "an IP address or a host name, with or without a port", "\"192.0.2.1:8080\", \"[2001:db8::1]:8080\" or \"app.internal:8080\"", crate::pool::ServerAddress::unset();
    crate::profile::Network, "an address range", "\"192.0.2.0/24\" or \"2001:db8::/32\"", crate::profile::Network::unset();
    crate::health::StatusRange, "a range of status codes", "\"2xx\", \"200\" or \"200-299\"", crate::health::StatusRange::SUCCESS;
}

impl Read for crate::secret::Hidden {
    const FORM: &'static str = "a text";
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        String::read(reader, path, value).into()
    }
    fn filler() -> Self {
        Self::default()
    }
}

impl<const N: usize> Read for Secret<N> {
    const FORM: &'static str = "a key in base64";
    //= CFG-SECRET-01
    fn read(reader: &mut Reader, path: &str, value: &Spanned<DeValue<'_>>) -> Self {
        let Some(text) = value.get_ref().as_str() else {
            reader.expected(path, Self::FORM, value.get_ref());
            return Self::filler();
        };
        Self::parse(text).unwrap_or_else(|problem: SecretProblem| {
            reader.report(
                path,
                problem.to_string(),
                format!("make one with: head -c {N} /dev/urandom | base64"),
            );
            Self::filler()
        })
    }
    fn filler() -> Self {
        Self::new([0; N])
    }
}
