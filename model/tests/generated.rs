//! Objects made at random after their own tables: right in form, and whatever their rules make of them.

use forebay_model::field::{Field, Type};
use forebay_model::{Kind, Object, check, kinds, reference, shape};
use proptest::prelude::*;
use serde_json::Value;

/// Where choices come from; when it has run dry, every choice is the first.
struct Choices<'b>(std::slice::Iter<'b, u8>);

impl Choices<'_> {
    fn below(&mut self, most: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % most.max(1)
    }
}

fn fields(
    fields: &mut dyn Iterator<Item = &'static Field>,
    choices: &mut Choices<'_>,
    deep: usize,
) -> Object {
    let mut object = Object::new();
    for field in fields.filter(|field| !field.is_read_only) {
        let must = field.is_required && field.default.is_none();
        if must || (deep < 6 && choices.below(4) == 1) {
            object.insert(field.name.to_owned(), value(&field.holds, choices, deep));
        }
    }
    object
}

fn value(holds: &'static Type, choices: &mut Choices<'_>, deep: usize) -> Value {
    // Texts that mean something somewhere: addresses above all.
    const TEXTS: [&str; 6] = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "a.example", "", "ü\u{0}\""];
    match holds {
        Type::Text(_) => Value::from(TEXTS[choices.below(TEXTS.len())]),
        Type::Flag => Value::from(choices.below(2) == 1),
        Type::Int(allowed) => {
            let (low, high) = allowed[choices.below(allowed.len())];
            Value::from(if choices.below(2) == 0 { low } else { high })
        }
        Type::Number => Value::from(0.5),
        Type::Enum(names) => Value::from(names[choices.below(names.len())]),
        Type::Ref(kind) => Value::from(format!("/api/{kind}/{kind}-{}", choices.below(2))),
        Type::Message(message) => Value::Object(fields(&mut message.fields.iter(), choices, deep + 1)),
        Type::List(list) => {
            let entries = choices.below(3).min(list.most);
            Value::Array((0..entries).map(|_| value(list.of, choices, deep + 1)).collect())
        }
    }
}

/// What is told of a document of the right form comes from a rule: it has a place, a reason and a remedy.
fn examine(kind: &'static Kind, bytes: &[u8]) -> Result<bool, TestCaseError> {
    let sent = fields(&mut kind.all_fields(), &mut Choices(bytes.iter()), 0);
    let whole = match check(kind, &sent) {
        Ok(whole) => whole,
        Err(problems) => {
            prop_assert!(!problems.is_empty(), "{}", kind.path);
            for told in problems {
                prop_assert!(
                    !told.path.is_empty() && !told.reason.is_empty() && !told.fix.is_empty(),
                    "{}: {told:?}",
                    kind.path
                );
            }
            return Ok(false);
        }
    };
    prop_assert_eq!(check(kind, &whole), Ok(whole.clone()), "{}: what is good stays as it is", kind.path);
    let mut bare = whole.clone();
    shape::without_defaults(kind, &mut bare);
    prop_assert_eq!(check(kind, &bare), Ok(whole.clone()), "{}: defaults come back", kind.path);
    let mut seen = whole.clone();
    shape::mask(kind, &mut seen);
    shape::keep_secrets(kind, &mut seen, &whole);
    prop_assert_eq!(&seen, &whole, "{}: secrets come back", kind.path);
    let mut named = Ok(());
    shape::references(kind, &mut seen, &mut |place, kind, text| {
        if let Err(refusal) = reference::Reference::read(text, kind) {
            named = Err(TestCaseError::fail(format!("{place}: {refusal:?}")));
        }
    });
    named.map(|()| true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn an_object_of_the_right_form_is_taken_or_told_why(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        for kind in kinds() {
            examine(kind, &bytes)?;
        }
    }
}

#[test]
fn the_least_of_most_kinds_is_taken() {
    let refused: Vec<&str> =
        kinds().filter(|kind| !examine(kind, &[]).expect("no contradiction")).map(|kind| kind.path).collect();
    assert!(refused.len() * 4 < kinds().count(), "{refused:?}");
}
