//! The tables themselves: whatever a helper of the API reads off them must be there.

use std::collections::BTreeSet;

use forebay_model::field::{Default, Field, Type};
use forebay_model::{check, example, kinds, shape};

/// Kinds that references may name although nobody makes them by the API: the Controller finds them in a cloud.
const FOUND: [&str; 4] = ["vimgrclusterruntime", "vimgrhostruntime", "vimgrnwruntime", "vimgrvmruntime"];

/// Kinds that references name and that have no table yet: such a reference is refused, as it leads nowhere.
const PLANNED: &[&str] = &[
    "authmappingprofile",
    "availabilityzone",
    "botdetectionpolicy",
    "csrfpolicy",
    "federationcheckpoint",
    "fileobject",
    "geodb",
    "icapprofile",
    "ipreputationdb",
    "jwtserverprofile",
    "labelgroup",
    "protocolparser",
    "securitypolicy",
    "ssopolicy",
    "trustedhostprofile",
    "vcenterserver",
    "wafpolicy",
];

/// Calls `with` with every field, below whatever it is, and the path to it.
fn each(with: &mut dyn FnMut(&str, &'static Field)) {
    fn below(
        path: &str,
        fields: &mut dyn Iterator<Item = &'static Field>,
        with: &mut dyn FnMut(&str, &'static Field),
    ) {
        for field in fields {
            let path = format!("{path}.{}", field.name);
            assert!(path.len() < 200, "{path}: a message within itself has no end");
            with(&path, field);
            let mut holds = &field.holds;
            while let Type::List(list) = holds {
                holds = list.of;
            }
            if let Type::Message(message) = holds {
                below(&path, &mut message.fields.iter(), with);
            }
        }
    }
    for kind in kinds() {
        below(kind.path, &mut kind.all_fields(), with);
    }
}

#[test]
fn a_field_stands_once_in_its_table() {
    let mut seen = BTreeSet::new();
    each(&mut |path, _| {
        // A message that stands in two places is walked twice, under two paths; a kind may bound a common field itself.
        let common = ["uuid", "url", "_last_modified", "tenant_ref", "markers", "created_by", "description"];
        let is_common = path.split('.').count() == 2 && common.iter().any(|name| path.ends_with(name));
        assert!(seen.insert(path.to_owned()) || is_common, "{path} stands twice");
    });
    assert!(seen.len() > 100);
}

#[test]
fn kinds_have_paths_names_and_permissions_of_the_usual_form() {
    let mut paths = BTreeSet::new();
    for kind in kinds() {
        assert!(paths.insert(kind.path), "{} stands twice", kind.path);
        assert!(
            kind.path.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
            "{}",
            kind.path
        );
        assert_eq!(kind.name.to_lowercase(), kind.path, "clients are told of a kind by its name");
        assert!(kind.permission.starts_with("PERMISSION_"), "{}", kind.path);
    }
}

#[test]
fn a_message_of_one_name_has_one_table() {
    let mut tables = std::collections::BTreeMap::new();
    each(&mut |path, field| {
        let mut holds = &field.holds;
        while let Type::List(list) = holds {
            holds = list.of;
        }
        if let Type::Message(message) = holds {
            let first: &forebay_model::field::Message = tables.entry(message.name).or_insert(message);
            assert!(std::ptr::eq(first, *message), "{path}: another {} stands elsewhere", message.name);
        }
    });
}

#[test]
fn a_default_is_what_its_field_may_hold() {
    each(&mut |path, field| {
        let Some(default) = field.default else { return };
        let fits = match (&field.holds, default) {
            (Type::Flag, Default::Flag(_)) => true,
            (Type::Int(allowed), Default::Int(number)) => {
                allowed.iter().any(|(low, high)| (*low..=*high).contains(&number))
            }
            (Type::Text(most), Default::Text(text)) => text.len() <= *most,
            (Type::Enum(names), Default::Text(name)) => names.contains(&name),
            (Type::Message(message), Default::Message) => {
                message.fields.iter().all(|field| !field.is_required || field.default.is_some())
            }
            _ => false,
        };
        assert!(fits, "{path}: {default:?} for {:?}", field.holds);
    });
}

#[test]
fn references_lead_to_kinds_and_keys_to_fields() {
    let known: BTreeSet<&str> = kinds().map(|kind| kind.path).chain(FOUND).collect();
    for planned in PLANNED {
        assert!(!known.contains(planned), "{planned} has a table now");
    }
    let mut unknown = BTreeSet::new();
    each(&mut |path, field| {
        let mut holds = &field.holds;
        while let Type::List(list) = holds {
            if let Type::Message(message) = list.of {
                for key in list.key {
                    assert!(message.fields.iter().any(|field| field.name == *key), "{path}: no field {key}");
                }
            } else {
                assert!(list.key.is_empty(), "{path}: a key of what has no fields");
            }
            assert!(list.most > 0, "{path}");
            holds = list.of;
        }
        match holds {
            Type::Ref(kind) if !known.contains(kind) && !PLANNED.contains(kind) => {
                unknown.insert(*kind);
            }
            Type::Ref(_) => assert!(
                field.name.ends_with("_ref") || field.name.ends_with("_refs"),
                "{path}: clients know a reference by its name"
            ),
            Type::Enum(names) => {
                assert!(!names.is_empty(), "{path}");
                let once: BTreeSet<_> = names.iter().collect();
                assert_eq!(once.len(), names.len(), "{path}: a name stands twice");
            }
            Type::Int(allowed) => {
                assert!(allowed.iter().all(|(low, high)| low <= high) && !allowed.is_empty(), "{path}");
            }
            _ => {}
        }
    });
    assert!(unknown.is_empty(), "references lead to kinds that there are not: {unknown:?}");
}

#[test]
fn what_a_client_got_it_may_send_back_and_defaults_come_and_go() {
    for kind in kinds() {
        let sent = example::least(kind);
        let whole = check(kind, &sent).unwrap_or_else(|problems| panic!("{}: {problems:?}", kind.path));
        assert_eq!(check(kind, &whole).as_ref(), Ok(&whole), "{}", kind.path);
        let mut bare = whole.clone();
        shape::without_defaults(kind, &mut bare);
        assert_eq!(check(kind, &bare).as_ref(), Ok(&whole), "{}", kind.path);
    }
}

/// Texts that are named like a key or a password, and are none.
const NO_SECRETS: &[&str] = &[
    // The name of an entry, of an attribute, of an account, of a host, or of a key that lies elsewhere.
    "CloudMeta.key",
    "KeyValue.key",
    "KeyValueTuple.key",
    "RoleFilterMatchLabel.key",
    "access_key_id",
    "attr_key",
    "enckey_name",
    "event_details_key",
    "host_attribute_key",
    "keystone_host",
    "secret_id",
    "tag_key",
    // What everybody may have of a key.
    "keyhash",
    "public_key",
    // About keys and tokens.
    "host_key_algorithm_exclude",
    "rekey_time_limit",
    "rekey_volume_limit",
    "token_endpoint",
    "token_expiration_date",
    // Stands for the user in the name of an entry of a directory.
    "LdapUserBindSettings.token",
];

//= test API-FIELD-03
#[test]
fn a_text_that_is_named_like_a_key_or_a_password_is_a_secret() {
    const WORDS: [&str; 7] = ["key", "pass", "secret", "token", "credential", "private", "encrypt"];
    let mut secrets = 0;
    let (mut known, mut wrong) = (BTreeSet::<&str>::new(), BTreeSet::<String>::new());
    let mut look = |of: &str, field: &'static Field| {
        if !matches!(field.holds, Type::Text(_)) || !WORDS.iter().any(|word| field.name.contains(word)) {
            return;
        }
        let full = format!("{of}.{}", field.name);
        let found = NO_SECRETS.iter().find(|name| **name == field.name || **name == full);
        known.extend(found.copied());
        secrets += usize::from(field.is_secret);
        if field.is_secret == found.is_some() {
            wrong.insert(full);
        }
    };
    for kind in kinds() {
        for field in kind.all_fields() {
            look(kind.name, field);
        }
    }
    each(&mut |_, field| {
        let mut holds = &field.holds;
        while let Type::List(list) = holds {
            holds = list.of;
        }
        if let Type::Message(message) = holds {
            for field in message.fields {
                look(message.name, field);
            }
        }
    });
    assert!(wrong.is_empty(), "neither secret nor known as none, or both: {wrong:?}");
    assert!(secrets > 30, "{secrets}");
    assert_eq!(known.len(), NO_SECRETS.len(), "{known:?}");
}
