//! Patterns of names: `*` stands for any characters, `?` for one. Case does not count, as in Salesforce.

/// A pattern of names of objects or tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<char>);

impl Pattern {
    /// Returns the pattern in a text; `None` if the text is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: Vec<char> = text.trim().to_lowercase().chars().collect();
        (!letters.is_empty()).then_some(Self(letters))
    }

    /// Returns whether the pattern is one name.
    pub fn is_name(&self) -> bool {
        !self.0.iter().any(|letter| matches!(letter, '*' | '?'))
    }

    /// Returns whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.to_lowercase().chars().collect();
        let (mut at, mut of) = (0, 0);
        // Where the last star was, and how much of the name it has taken.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(of) {
                Some('*') => {
                    star = Some((of, at));
                    of += 1;
                }
                Some(letter) if *letter == '?' || *letter == name[at] => {
                    at += 1;
                    of += 1;
                }
                _ => {
                    let Some((place, taken)) = star else {
                        return false;
                    };
                    star = Some((place, taken + 1));
                    (at, of) = (taken + 1, place + 1);
                }
            }
        }
        self.0[of..].iter().all(|letter| *letter == '*')
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{letter}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters_in_any_case() {
        for (pattern, name, matches) in [
            ("Account", "account", true),
            ("Account", "AccountTeamMember", false),
            ("*", "Account", true),
            ("*__c", "My_Object__C", true),
            ("*__c", "Account", false),
            ("acme__*__c", "acme__Order__c", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xaxbxa", false),
            ("Op?ortunity", "Opportunity", true),
            ("A**", "A", true),
            ("A?", "A", false),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(name), matches, "{pattern} {name}");
        }
        assert_eq!(Pattern::parse("  "), None);
    }
}
