//! Whom does a list of users name?
//!
//! A list is the value of one key of a Secret or ConfigMap: one user a line, blank lines and lines that begin with `#`
//! ignored. Lists come from spreadsheets and mail, so a byte-order mark, CRLF and duplicates are normal, and one bad line
//! must not hide the good ones. Nothing in here prints a line's text; places are line numbers. What follows from a bad
//! line (counted where the list selects, a stop where it protects) is decided in [`super::desired`].

use std::collections::HashSet;
use std::fmt;

use crate::api::password_reset_policy::UserListFormat;

use super::observed::UserKey;

/// The largest list that is read: what a Secret or ConfigMap can hold (1 MiB).
pub const MAX_BYTES: usize = 1 << 20;

/// The longest e-mail address, in bytes: 64 for the local part, `@`, 255 for the domain (RFC 5321 §4.5.3.1).
const MAX_EMAIL: usize = 320;

/// The longest id or user name, in bytes; the bound of `spec.targets[].users` too.
const MAX_NAME: usize = 256;

/// What a list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedList {
    /// The users with the line that named each first, in the order of the list. No two name the same user by text.
    pub entries: Vec<(UserKey, u32)>,
    /// Lines that name nobody.
    pub malformed: Vec<MalformedLine>,
}

/// A line that names nobody. Its text is kept to be compared with exclusions and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MalformedLine {
    /// The line, from 1.
    pub line: u32,
    text: String,
}

impl MalformedLine {
    /// Whether the line says `text`, ignoring case and the space around it.
    pub fn says(&self, text: &str) -> bool {
        self.text == text.trim().to_lowercase()
    }
}

impl fmt::Debug for MalformedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MalformedLine({})", self.line)
    }
}

/// Why a list as a whole cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListInvalid {
    /// Larger than [`MAX_BYTES`].
    TooLarge,
    /// Not UTF-8, from this line on.
    NotText {
        /// The line, from 1.
        line: u32,
    },
    /// Not one line names a user.
    Empty {
        /// The first malformed line, where there is one: often the whole list has another format than announced.
        malformed: Option<u32>,
    },
}

impl fmt::Display for ListInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => {
                f.write_str("the list is larger than 1 MiB: split it into several and name each in usersFrom")
            }
            Self::NotText { line } => write!(f, "line {line} is not UTF-8 text: save the list as UTF-8"),
            Self::Empty { malformed: None } => {
                f.write_str("the list names nobody: write one user a line, or remove the list from the policy")
            }
            Self::Empty { malformed: Some(line) } => write!(
                f,
                "no line of the list fits its format (the first that does not is line {line}): correct the lines, or the \
                 format beside the reference"
            ),
        }
    }
}

/// Reads a list.
///
/// # Errors
/// When the list as a whole cannot be used; a bad line alone is no error.
pub fn parse(bytes: &[u8], format: UserListFormat) -> Result<ParsedList, ListInvalid> {
    if bytes.len() > MAX_BYTES {
        return Err(ListInvalid::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ListInvalid::NotText {
        line: line_number(bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count()),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);

    let mut list = ParsedList::default();
    let mut seen = HashSet::new();
    for (index, line) in text.split('\n').enumerate() {
        let line_text = line.trim();
        if line_text.is_empty() || line_text.starts_with('#') {
            continue;
        }
        let key = match format {
            UserListFormat::ID => UserKey::Id(line_text.to_owned()),
            UserListFormat::Username => UserKey::Username(line_text.to_owned()),
            UserListFormat::Email => UserKey::Email(line_text.to_owned()),
        };
        if !well_formed(&key) {
            list.malformed.push(MalformedLine { line: line_number(index), text: line_text.to_lowercase() });
        } else if seen.insert(folded(&key)) {
            list.entries.push((key, line_number(index)));
        }
    }
    if list.entries.is_empty() {
        return Err(ListInvalid::Empty { malformed: list.malformed.first().map(|line| line.line) });
    }
    Ok(list)
}

fn line_number(index: usize) -> u32 {
    // A list of at most 1 MiB has fewer lines than a u32 counts.
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

/// Whether a key can name anybody at all. A user name may hold inner spaces (PingOne allows them), an id or an address
/// may not; none holds a control character.
pub fn well_formed(key: &UserKey) -> bool {
    match key {
        UserKey::Id(id) => fits(id, MAX_NAME) && !id.contains(char::is_whitespace),
        UserKey::Username(name) => fits(name, MAX_NAME) && name.trim() == name,
        UserKey::Email(email) => {
            let Some((local, domain)) = email.rsplit_once('@') else { return false };
            fits(email, MAX_EMAIL)
                && !email.contains(char::is_whitespace)
                && !local.is_empty()
                && (!local.contains('@') || local.starts_with('"'))
                && !domain.is_empty()
                && !domain.contains([',', ';', '<', '>', '"'])
        }
    }
}

fn fits(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && !text.contains(char::is_control)
}

/// The key in the form in which equal keys are equal: e-mail and user name ignore case, an id does not.
pub fn folded(key: &UserKey) -> UserKey {
    match key {
        UserKey::Id(id) => UserKey::Id(id.clone()),
        UserKey::Username(name) => UserKey::Username(name.to_lowercase()),
        UserKey::Email(email) => UserKey::Email(email.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn emails(text: &str) -> ParsedList {
        parse(text.as_bytes(), UserListFormat::Email).unwrap()
    }

    fn email(text: &str) -> UserKey {
        UserKey::Email(text.into())
    }

    fn lines(list: &ParsedList) -> Vec<u32> {
        list.malformed.iter().map(|line| line.line).collect()
    }

    #[test]
    fn comments_blank_lines_crlf_and_a_byte_order_mark_are_no_users() {
        let list = emails("\u{feff}# leaked\r\n\r\nalice@corp.example\r\n   \r\n  bob@corp.example  \r\n");
        assert_eq!(list.entries, [(email("alice@corp.example"), 3), (email("bob@corp.example"), 5)]);
        assert!(list.malformed.is_empty());
    }

    #[test]
    fn the_byte_order_mark_does_not_stick_to_the_first_user() {
        assert_eq!(emails("\u{feff}alice@corp.example").entries, [(email("alice@corp.example"), 1)]);
    }

    #[test]
    fn duplicates_are_merged_and_the_first_line_is_remembered() {
        let list = emails("a@corp.example\nb@corp.example\nA@Corp.Example\n");
        assert_eq!(list.entries, [(email("a@corp.example"), 1), (email("b@corp.example"), 2)]);
    }

    #[test]
    fn ids_that_differ_in_case_are_two() {
        let list = parse(b"Ab1\naB1\nAb1", UserListFormat::ID).unwrap();
        assert_eq!(list.entries.len(), 2);
    }

    #[test]
    fn a_malformed_line_is_returned_as_a_place_and_the_rest_goes_on() {
        let list = emails("a@corp.example\nnobody\nb c@corp.example\nx@\n@y\na@b@c\nd@corp.example,\ne@corp.example");
        assert_eq!(lines(&list), [2, 3, 4, 5, 6, 7]);
        assert_eq!(list.entries, [(email("a@corp.example"), 1), (email("e@corp.example"), 8)]);
    }

    #[test]
    fn control_characters_and_overlong_lines_are_malformed() {
        let long = format!("{}@corp.example", "a".repeat(320));
        let list = emails(&format!("a@corp.example\nb\0@corp.example\nc\r@corp.example\n{long}"));
        assert_eq!(lines(&list), [2, 3, 4]);
    }

    #[test]
    fn a_user_name_may_hold_spaces_and_an_id_may_not() {
        assert_eq!(parse(b"Mary Ann", UserListFormat::Username).unwrap().entries.len(), 1);
        assert_eq!(lines(&parse(b"1\n2 3", UserListFormat::ID).unwrap()), [2]);
    }

    #[test]
    fn a_user_name_neither_begins_nor_ends_with_a_space_nor_is_without_end() {
        for name in [" bob", "bob ", "", &"b".repeat(MAX_NAME + 1)] {
            assert!(!well_formed(&UserKey::Username(name.into())), "{name:?}");
        }
        assert!(well_formed(&UserKey::Username("b".repeat(MAX_NAME))));
    }

    #[test]
    fn a_hash_inside_a_line_is_no_comment() {
        assert_eq!(parse(b"c#-dev", UserListFormat::Username).unwrap().entries.len(), 1);
        assert_eq!(lines(&emails("a@corp.example\nb@corp.example # has left")), [2]);
    }

    #[test]
    fn a_list_of_nobody_is_invalid() {
        for nobody in ["", "\n\n", "# only a comment\r\n", "\u{feff}"] {
            assert_eq!(parse(nobody.as_bytes(), UserListFormat::ID), Err(ListInvalid::Empty { malformed: None }));
        }
        let wrong_format = parse(b"# users\nalice\nbob", UserListFormat::Email);
        assert_eq!(wrong_format, Err(ListInvalid::Empty { malformed: Some(2) }));
    }

    #[test]
    fn bytes_that_are_not_text_are_named_by_their_line() {
        assert_eq!(parse(b"a@b.c\nx\xff", UserListFormat::Email), Err(ListInvalid::NotText { line: 2 }));
        let utf16 = b"\xff\xfea\0@\0b\0";
        assert_eq!(parse(utf16, UserListFormat::Email), Err(ListInvalid::NotText { line: 1 }));
    }

    #[test]
    fn why_a_list_cannot_be_used_is_said_with_the_line_and_what_to_do() {
        let said = [
            (ListInvalid::TooLarge, "larger than 1 MiB", "split it"),
            (ListInvalid::NotText { line: 7 }, "line 7 is not UTF-8", "save the list"),
            (ListInvalid::Empty { malformed: None }, "names nobody", "write one user a line"),
            (ListInvalid::Empty { malformed: Some(7) }, "line 7", "correct the lines"),
        ];
        for (invalid, what, remedy) in said {
            let message = invalid.to_string();
            assert!(message.contains(what) && message.contains(remedy), "{message}");
        }
    }

    #[test]
    fn a_mebibyte_is_read_and_a_byte_more_is_not() {
        let mut bytes = vec![b'\n'; MAX_BYTES];
        bytes[0] = b'x';
        assert_eq!(parse(&bytes, UserListFormat::ID).unwrap().entries.len(), 1);
        bytes.push(b'\n');
        assert_eq!(parse(&bytes, UserListFormat::ID), Err(ListInvalid::TooLarge));
    }

    #[test]
    fn nothing_printed_shows_a_line() {
        let list = emails("alice@corp.example\nbob at corp");
        let printed = format!("{list:?}");
        assert!(!printed.contains("alice") && !printed.contains("bob"), "{printed}");
    }

    proptest! {
        #[test]
        fn any_bytes_give_each_line_at_most_one_fate(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for format in [UserListFormat::ID, UserListFormat::Username, UserListFormat::Email] {
                if let Ok(list) = parse(&bytes, format) {
                    let total = u32::try_from(bytes.split(|&byte| byte == b'\n').count()).unwrap();
                    let mut at: Vec<u32> = list.entries.iter().map(|(_, line)| *line).chain(lines(&list)).collect();
                    at.sort_unstable();
                    let length = at.len();
                    at.dedup();
                    prop_assert_eq!(at.len(), length);
                    prop_assert!(at.iter().all(|line| (1..=total).contains(line)));
                    prop_assert!(list.entries.iter().all(|(key, _)| well_formed(key)));
                }
            }
        }

        #[test]
        fn well_formed_addresses_survive_any_decoration(
            names in proptest::collection::hash_set("[a-z]{1,8}", 1..20),
            crlf in any::<bool>(),
            mark in any::<bool>(),
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let mut text = String::from(if mark { "\u{feff}" } else { "" });
            for name in &names {
                text.push_str(&format!("# note{end} {name}@corp.example {end}{end}{}@CORP.example{end}", name.to_uppercase()));
            }
            let list = emails(&text);
            prop_assert_eq!(list.entries.len(), names.len());
            prop_assert!(list.malformed.is_empty());
        }
    }
}
