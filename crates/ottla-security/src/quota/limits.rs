//! Which limit applies to a client, and with whom it shares it (`ClientQuotaManager.DefaultQuotaCallback`).

use std::collections::HashMap;

/// The limits of one kind of quota. The most specific one counts:
///
/// 1. user and client id, 2. user and default client id, 3. user, 4. default user and client id, 5. default user and default
///    client id, 6. default user, 7. client id, 8. default client id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientLimits {
    users: HashMap<String, OfUser>,
    default_user: OfUser,
    clients: Clients,
    has_user: bool,
    has_client: bool,
    has_both: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct OfUser {
    own: Option<f64>,
    clients: Clients,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Clients {
    by_id: HashMap<String, f64>,
    default: Option<f64>,
}

/// Who shares a limit: all connections with the same tags. Empty is "whoever".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tags<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The client id.
    pub client_id: &'a str,
}

impl ClientLimits {
    /// Sets the limit of an entity. `None` is a part that the entity does not have, `Some(None)` the default.
    /// An entity without both parts has no limit.
    pub fn set(&mut self, user: Option<Option<&str>>, client_id: Option<Option<&str>>, limit: f64) {
        let of_user = match user {
            None => None,
            Some(None) => Some(&mut self.default_user),
            Some(Some(name)) => Some(self.users.entry(name.to_owned()).or_default()),
        };
        match (of_user, client_id) {
            (None, None) => {}
            (Some(user), None) => {
                user.own = Some(limit);
                self.has_user = true;
            }
            (Some(user), Some(id)) => {
                user.clients.set(id, limit);
                self.has_both = true;
            }
            (None, Some(id)) => {
                self.clients.set(id, limit);
                self.has_client = true;
            }
        }
    }

    /// Whether anybody has a limit.
    pub fn is_enabled(&self) -> bool {
        self.has_user || self.has_client || self.has_both
    }

    /// With whom a client shares its limit.
    pub fn tags<'a>(&self, user: &'a str, client_id: &'a str) -> Tags<'a> {
        let (of_user, of_both, of_client) =
            (Tags { user, client_id: "" }, Tags { user, client_id }, Tags { user: "", client_id });
        match (self.has_user, self.has_both, self.has_client) {
            (false, false, _) => of_client,
            (true, false, false) => of_user,
            (false, true, false) => of_both,
            _ => {
                let known = self.users.get(user);
                let levels = [
                    (known.and_then(|user| user.clients.limit(client_id)), of_both),
                    (known.and_then(|user| user.own), of_user),
                    (self.default_user.clients.limit(client_id), of_both),
                    (self.default_user.own, of_user),
                ];
                levels.into_iter().find(|(limit, _)| limit.is_some()).map_or(of_client, |(_, tags)| tags)
            }
        }
    }

    /// The limit of those who share these tags.
    pub fn limit(&self, tags: Tags<'_>) -> Option<f64> {
        let known = self.users.get(tags.user);
        match (tags.user.is_empty(), tags.client_id.is_empty()) {
            (false, false) => known
                .and_then(|user| user.clients.limit(tags.client_id))
                .or_else(|| self.default_user.clients.limit(tags.client_id)),
            (false, true) => known.and_then(|user| user.own).or(self.default_user.own),
            (true, false) => self.clients.limit(tags.client_id),
            (true, true) => None,
        }
    }
}

impl Clients {
    fn set(&mut self, client_id: Option<&str>, limit: f64) {
        match client_id {
            Some(id) => _ = self.by_id.insert(id.to_owned(), limit),
            None => self.default = Some(limit),
        }
    }

    fn limit(&self, client_id: &str) -> Option<f64> {
        self.by_id.get(client_id).copied().or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(limits: &ClientLimits, user: &'a str, client_id: &'a str) -> (Option<f64>, Tags<'a>) {
        let tags = limits.tags(user, client_id);
        (limits.limit(tags), tags)
    }

    #[test]
    fn the_most_specific_limit_counts() {
        let u = Some(Some("u"));
        let c = Some(Some("c"));
        let any = Some(None);
        let levels = [(u, c), (u, any), (u, None), (any, c), (any, any), (any, None), (None, c), (None, any)];
        let shared =
            [("u", "c"), ("u", "c"), ("u", ""), ("u", "c"), ("u", "c"), ("u", ""), ("", "c"), ("", "c")];
        // From the least specific on, each new limit outranks those before it.
        let mut limits = ClientLimits::default();
        assert!(!limits.is_enabled());
        for (index, (user, client)) in levels.into_iter().enumerate().rev() {
            let limit = f64::from(u32::try_from(index).unwrap() + 1);
            limits.set(user, client, limit);
            let (found, tags) = found(&limits, "u", "c");
            assert_eq!(found, Some(limit), "level {index}");
            assert_eq!((tags.user, tags.client_id), shared[index], "level {index}");
        }
        assert!(limits.is_enabled());
        assert_eq!(found(&limits, "u", "other").0, Some(2.0));
        assert_eq!(found(&limits, "other", "c").0, Some(4.0));
        assert_eq!(found(&limits, "other", "other").0, Some(5.0));
    }

    #[test]
    fn a_client_without_id_has_its_users_limit_only() {
        let mut limits = ClientLimits::default();
        limits.set(Some(Some("u")), Some(None), 1.0);
        assert_eq!(found(&limits, "u", "").0, None);
        limits.set(Some(Some("u")), None, 2.0);
        limits.set(None, Some(None), 3.0);
        assert_eq!(found(&limits, "other", "").0, None);
        assert_eq!(found(&limits, "other", "x").0, Some(3.0));
    }

    #[test]
    fn an_entity_without_parts_limits_nobody() {
        let mut limits = ClientLimits::default();
        limits.set(None, None, 1.0);
        assert!(!limits.is_enabled());
    }
}
