//! The SCIM subset of PingOne's `filter` parameter: `eq`, `sw`, `ew`, `co`, `and`, `or`, parentheses, and
//! `memberOfGroups[id eq "…"]`. Attribute names are case-sensitive.

/// A parsed filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Compare { attribute: String, operator: Operator, value: String },
    MemberOf(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    Sw,
    Ew,
    Co,
}

impl Operator {
    /// Compares ignoring case.
    pub fn holds(self, actual: &str, wanted: &str) -> bool {
        let (actual, wanted) = (actual.to_lowercase(), wanted.to_lowercase());
        match self {
            Operator::Eq => actual == wanted,
            Operator::Sw => actual.starts_with(&wanted),
            Operator::Ew => actual.ends_with(&wanted),
            Operator::Co => actual.contains(&wanted),
        }
    }
}

impl Filter {
    /// Parses `text`; `allowed` says which attribute supports which operator. The error is a sentence.
    pub fn parse(text: &str, allowed: impl Fn(&str, Operator) -> bool) -> Result<Filter, String> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, allowed: &allowed };
        let filter = parser.or()?;
        match parser.tokens.first() {
            None => Ok(filter),
            Some(token) => Err(format!("unexpected {token:?}")),
        }
    }

    /// Whether the filter holds, given how a comparison and a membership are decided.
    pub fn holds(&self, compare: &impl Fn(&str, Operator, &str) -> bool, member: &impl Fn(&str) -> bool) -> bool {
        match self {
            Filter::And(left, right) => left.holds(compare, member) && right.holds(compare, member),
            Filter::Or(left, right) => left.holds(compare, member) || right.holds(compare, member),
            Filter::Compare { attribute, operator, value } => compare(attribute, *operator, value),
            Filter::MemberOf(id) => member(id),
        }
    }

    /// The values of `username eq` and `email eq` that every match must have one of, if there are such.
    pub fn names(&self) -> Option<Vec<&str>> {
        match self {
            Filter::And(left, right) => left.names().or_else(|| right.names()),
            Filter::Or(left, right) => Some([left.names()?, right.names()?].concat()),
            Filter::Compare { attribute, operator: Operator::Eq, value }
                if attribute == "username" || attribute == "email" =>
            {
                Some(vec![value])
            }
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' => {}
            '(' | ')' | '[' | ']' => tokens.push(Token::Sign(character)),
            '"' => {
                let mut value = String::new();
                loop {
                    match characters.next().ok_or("a string without its closing quote")? {
                        '"' => break,
                        '\\' => value.push(characters.next().ok_or("a string that ends in a backslash")?),
                        other => value.push(other),
                    }
                }
                tokens.push(Token::Text(value));
            }
            first if first.is_ascii_alphanumeric() => {
                let mut word = String::from(first);
                while let Some(next) = characters.next_if(|c| c.is_ascii_alphanumeric() || *c == '.' || *c == '_') {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
            other => return Err(format!("unexpected character {other:?}")),
        }
    }
    Ok(tokens)
}

struct Parser<'a, A> {
    tokens: &'a [Token],
    allowed: &'a A,
}

impl<A: Fn(&str, Operator) -> bool> Parser<'_, A> {
    fn next(&mut self) -> Result<Token, String> {
        let (first, rest) = self.tokens.split_first().ok_or("the filter ends too early")?;
        self.tokens = rest;
        Ok(first.clone())
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn sign(&mut self, sign: char) -> Result<(), String> {
        match self.next()? {
            Token::Sign(found) if found == sign => Ok(()),
            other => Err(format!("expected {sign:?}, found {other:?}")),
        }
    }

    fn or(&mut self) -> Result<Filter, String> {
        let mut left = self.and()?;
        while self.takes("or") {
            left = Filter::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Filter, String> {
        let mut left = self.primary()?;
        while self.takes("and") {
            left = Filter::And(Box::new(left), Box::new(self.primary()?));
        }
        Ok(left)
    }

    fn primary(&mut self) -> Result<Filter, String> {
        match self.next()? {
            Token::Sign('(') => {
                let inner = self.or()?;
                self.sign(')')?;
                Ok(inner)
            }
            Token::Word(word) if word == "memberOfGroups" => {
                self.sign('[')?;
                let inner = self.comparison_of("id")?;
                self.sign(']')?;
                Ok(Filter::MemberOf(inner))
            }
            Token::Word(attribute) => self.comparison(attribute),
            other => Err(format!("unexpected {other:?}")),
        }
    }

    fn comparison_of(&mut self, attribute: &str) -> Result<String, String> {
        match (self.next()?, self.next()?, self.next()?) {
            (Token::Word(found), Token::Word(eq), Token::Text(value)) if found == attribute && eq == "eq" => Ok(value),
            _ => Err(format!("only {attribute} eq \"…\" is supported here")),
        }
    }

    fn comparison(&mut self, attribute: String) -> Result<Filter, String> {
        let Token::Word(word) = self.next()? else { return Err(format!("{attribute} without an operator")) };
        let operator = match word.to_ascii_lowercase().as_str() {
            "eq" => Operator::Eq,
            "sw" => Operator::Sw,
            "ew" => Operator::Ew,
            "co" => Operator::Co,
            _ => return Err(format!("the operator {word} is not supported")),
        };
        if !(self.allowed)(&attribute, operator) {
            return Err(format!("{attribute} does not support {word}"));
        }
        match self.next()? {
            Token::Text(value) | Token::Word(value) => Ok(Filter::Compare { attribute, operator, value }),
            other => Err(format!("expected a value, found {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Filter, String> {
        Filter::parse(text, |attribute, _| ["username", "email"].contains(&attribute))
    }

    #[test]
    fn and_binds_tighter_than_or_and_parentheses_tighter_still() {
        let filter = parse(r#"username eq "a" or username eq "b" and email eq "c""#).expect("valid");
        assert!(matches!(filter, Filter::Or(..)));
        let filter = parse(r#"(username eq "a" or username eq "b") and email eq "c""#).expect("valid");
        assert!(matches!(filter, Filter::And(..)));
        assert_eq!(filter.names(), Some(vec!["a", "b"]));
    }

    #[test]
    fn quotes_and_backslashes_inside_a_value_are_escaped() {
        let filter = parse(r#"username eq "a\"b\\c""#).expect("valid");
        assert_eq!(
            filter,
            Filter::Compare { attribute: "username".into(), operator: Operator::Eq, value: r#"a"b\c"#.into() }
        );
    }

    #[test]
    fn what_the_documents_do_not_list_is_refused() {
        for text in [
            r#"id eq "x""#,
            r#"Username eq "x""#,
            r#"username ne "x""#,
            r#"not (username eq "x")"#,
            r#"username eq "x"#,
            "",
            "username",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
