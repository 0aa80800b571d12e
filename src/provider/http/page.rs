//! Where does a listing go on?
//!
//! Reads `Link` headers and notices listings that go in circles. Whether an address may be asked at all is
//! [`super::Http::same_origin`]'s to say.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::HeaderMap;
use http::header::LINK;

/// What the `Link` headers of an answer say about the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextLink {
    /// There is no `Link` header at all: nothing is said.
    Unsaid,
    /// There are links, none of them to a next page: this is the end.
    End,
    /// The next page's address as written, absolute or relative.
    At(String),
}

/// Reads the `Link` headers (RFC 8288) of an answer.
pub fn next_link(headers: &HeaderMap) -> NextLink {
    let mut any = false;
    for value in headers.get_all(LINK) {
        let Ok(mut rest) = value.to_str() else { continue };
        while let Some(start) = rest.find('<') {
            let Some(length) = rest[start..].find('>') else { break };
            let target = &rest[start + 1..start + length];
            rest = &rest[start + length + 1..];
            any = true;
            let end = end_of_parameters(rest);
            if parameters(&rest[..end]).any(|(name, value)| name == "rel" && has_relation(value, "next")) {
                return NextLink::At(target.to_owned());
            }
            rest = &rest[end..];
        }
    }
    if any { NextLink::End } else { NextLink::Unsaid }
}

/// The position of the comma that separates this link from the next one, outside of quotes.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn parameters(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.split(';').filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
    })
}

fn has_relation(value: &str, relation: &str) -> bool {
    value.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case(relation))
}

/// Notices a listing whose cursors repeat, in constant memory (Brent's cycle detection: the cursor at each power of two
/// is remembered). It travels inside the cursor, so that a provider keeps no state between two pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trail {
    page: u64,
    remembered: u64,
}

impl Trail {
    /// The trail at the first page.
    pub fn start() -> Self {
        Self { page: 0, remembered: 0 }
    }

    /// Goes on to the page that `position` names. `None` means that the listing has been there before.
    pub fn step(self, position: &str) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        position.hash(&mut hasher);
        let hash = hasher.finish();
        if self.page > 0 && hash == self.remembered {
            return None;
        }
        let page = self.page + 1;
        Some(Self { page, remembered: if page.is_power_of_two() { hash } else { self.remembered } })
    }

    /// Writes trail and position as one text.
    pub fn join(self, position: &str) -> String {
        format!("{:x} {:x} {position}", self.page, self.remembered)
    }

    /// Reads what [`Trail::join`] wrote.
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let mut parts = text.splitn(3, ' ');
        let number = |text: Option<&str>| u64::from_str_radix(text?, 16).ok();
        let trail = Self { page: number(parts.next())?, remembered: number(parts.next())? };
        Some((trail, parts.next()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> NextLink {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, value.parse().unwrap());
        }
        next_link(&headers)
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let at = |s: &str| NextLink::At(s.to_owned());
        assert_eq!(read(&[r#"<https://a/1>; rel="first", <https://a/2>; rel="next""#]), at("https://a/2"));
        assert_eq!(read(&["<https://a/1>; rel=prev", "<https://a/2?x=1,2;3>; rel=NEXT"]), at("https://a/2?x=1,2;3"));
        assert_eq!(read(&[r#"<https://a/2>; title="a, <b>; rel=x"; rel="last next""#]), at("https://a/2"));
    }

    #[test]
    fn links_without_a_next_are_the_end_and_no_links_say_nothing() {
        assert_eq!(read(&["<https://a/1>; rel=\"first\""]), NextLink::End);
        assert_eq!(read(&[r#"<https://a/1>; title="rel=next""#]), NextLink::End);
        assert_eq!(read(&[]), NextLink::Unsaid);
        assert_eq!(read(&["garbage <"]), NextLink::Unsaid);
    }

    #[test]
    fn a_listing_that_goes_in_circles_is_noticed() {
        for (lead, circle) in [(0, 1), (1, 1), (3, 2), (10, 7), (100, 1)] {
            let position = |n: usize| if n < lead { n } else { lead + (n - lead) % circle };
            let mut trail = Some(Trail::start());
            let mut steps = 0;
            while let Some(now) = trail {
                trail = now.step(&position(steps).to_string());
                steps += 1;
                assert!(steps <= 3 * (lead + circle) + 3, "unnoticed after {steps} pages ({lead}, {circle})");
            }
        }
    }

    #[test]
    fn distinct_pages_are_no_circle() {
        let mut trail = Trail::start();
        for page in 0..5_000 {
            trail = trail.step(&page.to_string()).unwrap();
        }
    }

    #[test]
    fn a_trail_survives_being_written_down() {
        let trail = Trail::start().step("a").unwrap().step("b").unwrap();
        assert_eq!(Trail::split(&trail.join("https://a/b c")), Some((trail, "https://a/b c")));
        assert_eq!(Trail::split("https://a/b"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_header_and_no_cursor_breaks_the_reader(text in "[<>;,=\"\\\\ a-z0-9é]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, http::HeaderValue::from_bytes(text.as_bytes()).unwrap());
            let _ = next_link(&headers);
            let _ = Trail::split(&text);
        }
    }
}
