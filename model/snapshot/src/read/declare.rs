//! Macros that declare what a document may hold: sections, choices between words, choices of sections. One declaration
//! gives the type, its reader, its known keys and its rows in the reference table.

/// Declares a section of the document: fields with type, default (none: required), range or rule, and doc.
macro_rules! section {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident : $ty:ty $(= $default:expr)? $(, in $range:expr)? $(, is $rule:path)? ; )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $ty, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::read::default_or_filler!($ty $(, $default)?), )* }
            }
        }

        impl $crate::read::Section for $name {
            const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn read_table(
                reader: &mut $crate::read::Reader,
                path: &str,
                table: &toml::de::DeTable<'_>,
                also: &[&str],
            ) -> Self {
                reader.unknown_keys(path, table, Self::KEYS, also);
                $(
                    let (at, $field, given) =
                        reader.field::<$ty>(
                            path,
                            table,
                            stringify!($field),
                            $crate::read::default_or_none!($($default)?),
                            $crate::read::some_or_none!($($range)?),
                        );
                    if given && !reader.is_bad(&at) {
                        $( reader.in_range(&at, &$field, &$range); )?
                        $( reader.keeps(&at, $rule(&$field)); )?
                    }
                )*
                Self { $($field),* }
            }

            fn docs() -> Vec<$crate::read::FieldDoc> {
                let required: &[&str] = &[$( $crate::read::name_if_required!($field $(, $default)?) ),*];
                let ranges: &[(&str, Option<core::ops::RangeInclusive<i64>>)] =
                    &[$( (stringify!($field), $crate::read::some_or_none!($($range)?)) ),*];
                let docs: &[(&'static str, &'static str, &str)] =
                    &[$( (stringify!($field), <$ty as $crate::read::Read>::FORM, concat!($($doc),+)) ),*];
                $crate::read::describe(&Self::default(), required, ranges, docs)
            }
        }

        impl $crate::read::Read for $name {
            const FORM: &'static str = "a table";
            fn read(reader: &mut $crate::read::Reader, path: &str, value: &toml::Spanned<toml::de::DeValue<'_>>) -> Self {
                match value.get_ref().as_table() {
                    Some(table) => <Self as $crate::read::Section>::read_table(reader, path, table, &[]),
                    None => {
                        reader.expected(path, Self::FORM, value.get_ref());
                        Self::default()
                    }
                }
            }
            fn filler() -> Self { Self::default() }
        }
    )*};
}

/// Declares a choice between words.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant, )+ }

        impl $name {
            /// All choices, each with its word in the document.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),+];

            /// The word in the document.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.write_str(self.word()) }
        }

        impl $crate::read::Read for $name {
            const FORM: &'static str = concat!("one of", $(" ", $word),+);
            fn read(reader: &mut $crate::read::Reader, path: &str, value: &toml::Spanned<toml::de::DeValue<'_>>) -> Self {
                let words: Vec<&str> = Self::ALL.iter().map(|(_, word)| *word).collect();
                match $crate::read::word(reader, path, value, &words) {
                    Some(index) => Self::ALL[index].0,
                    None => <Self as $crate::read::Read>::filler(),
                }
            }
            fn filler() -> Self { Self::ALL[0].0 }
        }
    )*};
}

/// Declares a choice of sections by the key `type`.
macro_rules! by_type {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $variants:tt
        common { $( $(#[doc = $fdoc:literal])+ $field:ident : $fty:ty; )* }
    ) => {
        $crate::read::variants!($(#[$meta])* $name $variants);
        impl $name {
            $( $(#[doc = $fdoc])+ pub fn $field(&self) -> &$fty { $crate::read::accessor!(self $field $variants) } )*
        }
    };
}

macro_rules! accessor {
    ($self:ident $field:ident { $( $(#[doc = $doc:literal])+ $variant:ident($section:ty) = $word:literal, )+ }) => {
        match $self { $(Self::$variant(section) => &section.$field),+ }
    };
}

macro_rules! variants {
    ($(#[$meta:meta])* $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident($section:ty) = $word:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type")]
        pub enum $name { $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant($section), )+ }

        impl $name {
            /// The words that `type` takes.
            pub const TYPES: &'static [&'static str] = &[$($word),+];

            /// The word of this one's type.
            pub fn type_word(&self) -> &'static str {
                match self { $(Self::$variant(_) => $word),+ }
            }
            pub(crate) fn docs() -> Vec<(&'static str, Vec<$crate::read::FieldDoc>)> {
                vec![$(($word, <$section as $crate::read::Section>::docs())),+]
            }
        }

        impl $crate::read::Read for $name {
            const FORM: &'static str = "a table";
            fn read(reader: &mut $crate::read::Reader, path: &str, value: &toml::Spanned<toml::de::DeValue<'_>>) -> Self {
                let Some(table) = value.get_ref().as_table() else {
                    reader.expected(path, Self::FORM, value.get_ref());
                    return Self::filler();
                };
                let at = $crate::read::join(path, "type");
                let Some((key, value)) = table.get_key_value("type") else {
                    reader.report(&at, "this key is missing", format!("add type = one of {}", Self::TYPES.join(", ")));
                    return Self::filler();
                };
                reader.place(&at, key.span().start);
                let Some(index) = $crate::read::word(reader, &at, value, Self::TYPES) else {
                    return Self::filler();
                };
                $( if Self::TYPES[index] == $word {
                    return Self::$variant(<$section as $crate::read::Section>::read_table(reader, path, table, &["type"]));
                } )+
                Self::filler()
            }
            #[allow(unreachable_code, reason = "the first of several variants is the filler")]
            fn filler() -> Self { $( return Self::$variant(Default::default()); )+ }
        }
    };
}

/// Serde for types that have a text form.
macro_rules! text_serde {
    ($ty:ty) => {
        impl serde::Serialize for $ty {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $ty {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(|problem| serde::de::Error::custom(format!("{problem:?}")))
            }
        }
    };
}

macro_rules! default_or_filler {
    ($ty:ty) => {
        <$ty as $crate::read::Read>::filler()
    };
    ($ty:ty, $default:expr) => {
        $default
    };
}
macro_rules! default_or_none {
    () => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}
macro_rules! name_if_required {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident, $default:expr) => {
        ""
    };
}
macro_rules! some_or_none {
    () => {
        None
    };
    ($range:expr) => {
        Some($range)
    };
}
pub(crate) use {
    accessor, by_type, default_or_filler, default_or_none, name_if_required, section, some_or_none,
    text_serde, variants, words,
};
