//! What was said, and was it so?
//!
//! Every statement that the demo makes about the operator is checked where it is made. The demo ends well if and only if
//! all of them held.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::screen::{Ink, Screen};

/// The statements made so far.
#[derive(Debug)]
pub struct Claims {
    screen: Screen,
    held: usize,
    broken: Vec<String>,
}

impl Claims {
    /// No statement yet; each will be shown on `screen`.
    pub fn new(screen: Screen) -> Self {
        Self { screen, held: 0, broken: Vec::new() }
    }

    /// States `sentence`, which holds where `expected` and `seen` are equal.
    pub fn equal<T: PartialEq + Debug>(&mut self, sentence: &str, expected: T, seen: T) {
        let held = expected == seen;
        self.holds(sentence, held, || format!("expected {expected:?}, seen {seen:?}"));
    }

    /// States `sentence`, which holds where both hold the same; otherwise what is missing and what is too much is shown.
    pub fn same<T: Ord + Debug>(&mut self, sentence: &str, expected: &BTreeSet<T>, seen: &BTreeSet<T>) {
        let missing: Vec<&T> = expected.difference(seen).collect();
        let unexpected: Vec<&T> = seen.difference(expected).collect();
        self.holds(sentence, missing.is_empty() && unexpected.is_empty(), || {
            format!("missing {missing:?}, not expected {unexpected:?}")
        });
    }

    /// States `sentence`, which holds where `held`; `seen` says what there is instead.
    pub fn holds(&mut self, sentence: &str, held: bool, seen: impl FnOnce() -> String) {
        if held {
            self.held += 1;
            self.screen.good(sentence);
        } else {
            self.screen.line(&format!("  {} {sentence}", self.screen.ink(Ink::Red, "✗ not so:")));
            self.screen.line(&format!("      {}", seen()));
            self.broken.push(sentence.to_owned());
        }
    }

    /// Whether every statement held, and there was one.
    pub fn all_held(&self) -> bool {
        self.broken.is_empty() && self.held > 0
    }

    /// Says how many held, and names those that did not.
    pub fn summary(&self) -> String {
        let all = self.held + self.broken.len();
        if self.broken.is_empty() {
            return self.screen.ink(Ink::Green, &format!("All {all} statements held."));
        }
        let broken: Vec<String> = self.broken.iter().map(|sentence| format!("\n  ✗ {sentence}")).collect();
        let text = format!("{} of {all} statements did not hold:{}", self.broken.len(), broken.concat());
        self.screen.ink(Ink::Red, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_statement_is_enough_and_is_named() {
        let mut claims = Claims::new(Screen::new());
        assert!(!claims.all_held(), "nothing was stated");
        claims.equal("two and two are four", 4, 2 + 2);
        assert!(claims.all_held());
        claims.equal("two and two are five", 5, 2 + 2);
        assert!(!claims.all_held());
        assert!(claims.summary().contains("1 of 2") && claims.summary().contains("two and two are five"));
    }
}
