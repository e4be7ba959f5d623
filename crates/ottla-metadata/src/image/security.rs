//! ACLs, SCRAM credentials and delegation tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::access_control_entry_record::AccessControlEntryRecord;
use ottla_protocol::messages::delegation_token_record::DelegationTokenRecord;
use ottla_protocol::messages::user_scram_credential_record::UserScramCredentialRecord;
use ottla_types::Uuid;

use super::Changes;
use crate::features::MetadataVersion;
use crate::record::VersionedRecord;
use crate::{ReplayError, SharedMap, UnwritableError};

/// An access control entry; numbers as on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// Kind of the resource.
    pub resource_type: i8,
    /// Name of the resource, or a prefix of it.
    pub resource_name: String,
    /// How the name is compared: 3 literal, 4 prefixed.
    pub pattern_type: i8,
    /// Whom it is about, as `User:alice`.
    pub principal: String,
    /// From which host, or `*`.
    pub host: String,
    /// Which operation.
    pub operation: i8,
    /// 2 deny, 3 allow.
    pub permission_type: i8,
}

/// All ACLs, by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AclsImage {
    acls: SharedMap<Uuid, Arc<Acl>>,
}

impl AclsImage {
    /// All ACLs by rising id.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, &Arc<Acl>)> {
        self.acls.iter().map(|(id, acl)| (*id, acl))
    }

    /// The ACL of that id.
    pub fn get(&self, id: Uuid) -> Option<&Arc<Acl>> {
        self.acls.get(&id)
    }

    pub(super) fn add(&mut self, record: &AccessControlEntryRecord<'_>, changes: &mut Changes) {
        let acl = Acl {
            resource_type: record.resource_type,
            resource_name: record.resource_name.to_string(),
            pattern_type: record.pattern_type,
            principal: record.principal.to_string(),
            host: record.host.to_string(),
            operation: record.operation,
            permission_type: record.permission_type,
        };
        self.acls.insert(record.id, Arc::new(acl));
        changes.acls.insert(record.id);
    }

    pub(super) fn remove(&mut self, id: Uuid, changes: &mut Changes) -> Result<(), ReplayError> {
        changes.acls.insert(id);
        let removed = self.acls.remove(&id);
        removed.map(|_| ()).ok_or_else(|| ReplayError::Contradiction(format!("no ACL with id {id}")))
    }

    pub(super) fn write(&self, sink: &mut dyn FnMut(VersionedRecord)) {
        for (id, acl) in self.iter() {
            let record = AccessControlEntryRecord {
                id,
                resource_type: acl.resource_type,
                resource_name: acl.resource_name.clone().into(),
                pattern_type: acl.pattern_type,
                principal: acl.principal.clone().into(),
                host: acl.host.clone().into(),
                operation: acl.operation,
                permission_type: acl.permission_type,
            };
            sink(VersionedRecord::new(record, 0));
        }
    }
}

/// A SCRAM credential is known by mechanism (1 SHA-256, 2 SHA-512) and user.
pub type ScramKey = (i8, String);

/// What a server keeps of a password (RFC 5802).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// Salt.
    pub salt: Vec<u8>,
    /// Stored key.
    pub stored_key: Vec<u8>,
    /// Server key.
    pub server_key: Vec<u8>,
    /// Iterations.
    pub iterations: i32,
}

impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// All SCRAM credentials.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScramImage {
    credentials: Arc<BTreeMap<ScramKey, ScramCredential>>,
}

impl ScramImage {
    /// The credential of a user under a mechanism.
    pub fn get(&self, mechanism: i8, user: &str) -> Option<&ScramCredential> {
        self.credentials.get(&(mechanism, user.to_owned()))
    }

    /// All credentials by mechanism and user.
    pub fn iter(&self) -> impl Iterator<Item = (&ScramKey, &ScramCredential)> {
        self.credentials.iter()
    }

    pub(super) fn set(&mut self, record: &UserScramCredentialRecord<'_>, changes: &mut Changes) {
        let key = (record.mechanism, record.name.to_string());
        let credential = ScramCredential {
            salt: record.salt.to_vec(),
            stored_key: record.stored_key.to_vec(),
            server_key: record.server_key.to_vec(),
            iterations: record.iterations,
        };
        changes.scram.insert(key.clone());
        Arc::make_mut(&mut self.credentials).insert(key, credential);
    }

    pub(super) fn remove(&mut self, mechanism: i8, user: &str, changes: &mut Changes) {
        let key = (mechanism, user.to_owned());
        Arc::make_mut(&mut self.credentials).remove(&key);
        changes.scram.insert(key);
    }

    pub(super) fn write(
        &self,
        version: MetadataVersion,
        sink: &mut dyn FnMut(VersionedRecord),
    ) -> Result<(), UnwritableError> {
        if !self.credentials.is_empty() && !version.has_scram() {
            return Err(UnwritableError { version, lost: "SCRAM credentials".to_owned() });
        }
        for ((mechanism, name), credential) in self.iter() {
            let record = UserScramCredentialRecord {
                name: name.clone().into(),
                mechanism: *mechanism,
                salt: credential.salt.clone().into(),
                stored_key: credential.stored_key.clone().into(),
                server_key: credential.server_key.clone().into(),
                iterations: credential.iterations,
            };
            sink(VersionedRecord::new(record, 0));
        }
        Ok(())
    }
}

/// A delegation token (KIP-48); principals as `User:alice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationToken {
    /// Whom it stands for.
    pub owner: String,
    /// Who asked for it.
    pub requester: String,
    /// Who else may renew it.
    pub renewers: Vec<String>,
    /// When it was issued.
    pub issue_timestamp: i64,
    /// Past which it cannot be renewed.
    pub max_timestamp: i64,
    /// Until when it is valid.
    pub expiration_timestamp: i64,
}

/// All delegation tokens, by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokensImage {
    tokens: Arc<BTreeMap<String, DelegationToken>>,
}

impl TokensImage {
    /// The token of that id.
    pub fn get(&self, id: &str) -> Option<&DelegationToken> {
        self.tokens.get(id)
    }

    /// All tokens by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &DelegationToken)> {
        self.tokens.iter().map(|(id, token)| (id.as_str(), token))
    }

    pub(super) fn set(&mut self, record: &DelegationTokenRecord<'_>, changes: &mut Changes) {
        let token = DelegationToken {
            owner: record.owner.to_string(),
            requester: record.requester.to_string(),
            renewers: record.renewers.iter().map(ToString::to_string).collect(),
            issue_timestamp: record.issue_timestamp,
            max_timestamp: record.max_timestamp,
            expiration_timestamp: record.expiration_timestamp,
        };
        changes.tokens.insert(record.token_id.to_string());
        Arc::make_mut(&mut self.tokens).insert(record.token_id.to_string(), token);
    }

    pub(super) fn remove(&mut self, id: &str, changes: &mut Changes) {
        Arc::make_mut(&mut self.tokens).remove(id);
        changes.tokens.insert(id.to_owned());
    }

    pub(super) fn write(
        &self,
        version: MetadataVersion,
        sink: &mut dyn FnMut(VersionedRecord),
    ) -> Result<(), UnwritableError> {
        if !self.tokens.is_empty() && !version.has_delegation_tokens() {
            return Err(UnwritableError { version, lost: "delegation tokens".to_owned() });
        }
        for (id, token) in self.iter() {
            let record = DelegationTokenRecord {
                owner: token.owner.clone().into(),
                requester: token.requester.clone().into(),
                renewers: token.renewers.iter().cloned().map(Into::into).collect(),
                issue_timestamp: token.issue_timestamp,
                max_timestamp: token.max_timestamp,
                expiration_timestamp: token.expiration_timestamp,
                token_id: id.to_owned().into(),
            };
            sink(VersionedRecord::new(record, 0));
        }
        Ok(())
    }
}
