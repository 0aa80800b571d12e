//! How much of an answer's JSON is taken in?
//!
//! An answer has at most so many bytes, but a few bytes can become a large value: `{}` is two bytes and a user some
//! hundred. What is bounded here keeps an answer below 16 MiB, whatever stands in it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The values, lists and objects of one answer. A page of 1,000 users with everything that is known of them has less than
/// half.
const MOST_VALUES: usize = 100_000;
/// The rows of one page: twice the largest page that can be asked for.
const MOST_ROWS: usize = 2_000;
/// The longest id, name or address, in bytes: what a spec can name has at most 256 characters, of 4 bytes each.
const LONGEST_TEXT: usize = 1024;

/// Why an answer's JSON is not read. It shows nothing of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// More values than anything that is asked for has.
    #[error("holds more than {MOST_VALUES} values")]
    TooMuch,
    /// Not the JSON that is expected, and where that shows.
    #[error("{what} (line {line}, column {column})")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
}

/// Reads JSON from outside.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    if values(body) > MOST_VALUES {
        return Err(Unreadable::TooMuch);
    }
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "ends early",
            serde_json::error::Category::Data => "is not what the API gives",
            _ => "is not JSON",
        };
        Unreadable::Malformed { what, line: error.line(), column: error.column() }
    })
}

/// How many values a text has at most, if it is JSON: one more than it has commas and opening brackets.
fn values(body: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// The rows of a page, of which more than can be asked for are not believed.
#[derive(Clone, Debug, Default)]
pub struct Listed<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
            type Value = Listed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MOST_ROWS} rows")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Listed<T>, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = seq.next_element()? {
                    if rows.len() == MOST_ROWS {
                        return Err(A::Error::custom("more rows than can be asked for"));
                    }
                    rows.push(row);
                }
                Ok(Listed(rows))
            }
        }
        deserializer.deserialize_seq(Bounded(PhantomData))
    }
}

/// A name or address that may be missing. A longer one than anybody has is as good as missing: no key names it.
pub fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<Text>::deserialize(deserializer).map(|text| text.and_then(|text| text.0))
}

/// An id. *Errors*: a longer one than any provider has; no account can do without.
pub fn short_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer)?.0.ok_or_else(|| D::Error::custom("an id that is too long"))
}

/// A text, but for a longer one than [`LONGEST_TEXT`], which is read over without a copy of it. A whole number is read as
/// its digits: what an id is made of is the vendor's affair.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text((text.len() <= LONGEST_TEXT).then(|| text.to_owned())))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text(Some(number.to_string())))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Text, E> {
                Ok(Text(Some(number.to_string())))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_values_is_not_counted() {
        assert_eq!(values(br#"{"a,[{": "\",[", "b": [1, 2]}"#), 5);
    }

    #[test]
    fn an_answer_of_too_many_values_is_not_read() {
        let list = |length: usize| format!("[{}0]", "0,".repeat(length - 1));
        assert_eq!(parse::<Vec<u8>>(list(MOST_VALUES - 1).as_bytes()).map(|list| list.len()), Ok(MOST_VALUES - 1));
        assert_eq!(parse::<Vec<u8>>(list(MOST_VALUES).as_bytes()), Err(Unreadable::TooMuch));
    }

    #[test]
    fn a_page_of_more_rows_than_can_be_asked_for_is_not_believed() {
        let rows = |length: usize| parse::<Listed<u8>>(format!("[{}0]", "0,".repeat(length - 1)).as_bytes());
        assert_eq!(rows(MOST_ROWS).unwrap().0.len(), MOST_ROWS);
        assert!(matches!(rows(MOST_ROWS + 1), Err(Unreadable::Malformed { what: "is not what the API gives", .. })));
    }

    #[test]
    fn a_text_is_taken_up_to_its_bound() {
        #[derive(Deserialize)]
        struct Row {
            #[serde(deserialize_with = "short_id")]
            id: String,
            #[serde(default, deserialize_with = "short")]
            name: Option<String>,
        }
        let read = |id: usize, name: usize| {
            parse::<Row>(format!(r#"{{"id": "{}", "name": "{}"}}"#, "i".repeat(id), "n".repeat(name)).as_bytes())
        };
        let row = read(LONGEST_TEXT, LONGEST_TEXT).unwrap();
        assert_eq!((row.id.len(), row.name.map(|name| name.len())), (LONGEST_TEXT, Some(LONGEST_TEXT)));
        assert_eq!(read(1, LONGEST_TEXT + 1).unwrap().name, None);
        assert!(read(LONGEST_TEXT + 1, 1).is_err());
        let numbers = parse::<Row>(br#"{"id": 18446744073709551615, "name": -7}"#).unwrap();
        assert_eq!((&*numbers.id, numbers.name.as_deref()), ("18446744073709551615", Some("-7")));
        assert!(parse::<Row>(br#"{"id": 1.5}"#).is_err() && parse::<Row>(br#"{"id": true}"#).is_err());
        for absent in [r#"{"id": "1"}"#, r#"{"id": "1", "name": null}"#] {
            assert_eq!(parse::<Row>(absent.as_bytes()).unwrap().name, None);
        }
    }

    #[test]
    fn a_nest_of_any_depth_is_refused_without_climbing_into_it() {
        for depth in [200, 90_000] {
            let what = parse::<serde_json::Value>("[".repeat(depth).as_bytes()).unwrap_err();
            assert!(matches!(what, Unreadable::Malformed { .. }), "{what}");
        }
    }
}
