//! AlterUserScramCredentials: passwords as a server keeps them (KIP-554, `ScramControlManager`).

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::messages::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use ottla_protocol::messages::{RemoveUserScramCredentialRecord, UserScramCredentialRecord};
use sha2::{Digest, Sha256, Sha512};

use super::{Controller, Decision};
use crate::ApiError;
use crate::record::VersionedRecord;

const SHA_256: i8 = 1;
const SHA_512: i8 = 2;
const MIN_ITERATIONS: i32 = 4096;
const MAX_ITERATIONS: i32 = 16_384;

/// What a request asks for a user: a record, once it is found to be right.
type Outcomes<'a> = BTreeMap<&'a str, Result<VersionedRecord, ApiError>>;

impl Controller {
    /// Answers AlterUserScramCredentials (v0): each user is altered, or has an error.
    pub fn alter_user_scram_credentials(
        &self,
        request: &AlterUserScramCredentialsRequest<'_>,
    ) -> Decision<AlterUserScramCredentialsResponse<'static>> {
        let mut outcomes = Outcomes::new();
        for deletion in &request.deletions {
            note(&mut outcomes, &deletion.name, || self.removed_credential(deletion));
        }
        for upsertion in &request.upsertions {
            note(&mut outcomes, &upsertion.name, || self.new_credential(upsertion));
        }
        let mut records = Vec::new();
        let mut results = Vec::new();
        for (user, outcome) in outcomes {
            let error = outcome.map(|record| records.push(record)).err();
            results.push(AlterUserScramCredentialsResult {
                user: user.to_owned().into(),
                error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
                error_message: error.and_then(|error| error.message).map(Into::into),
            });
        }
        let response =
            AlterUserScramCredentialsResponse { results, ..AlterUserScramCredentialsResponse::default() };
        Decision::atomic(records, response)
    }

    fn removed_credential(
        &self,
        deletion: &ScramCredentialDeletion<'_>,
    ) -> Result<VersionedRecord, ApiError> {
        self.check_credential(&deletion.name, deletion.mechanism)?;
        if self.image.scram().get(deletion.mechanism, &deletion.name).is_none() {
            let text = "Attempt to delete a user credential that does not exist";
            return Err(ApiError::new(ErrorCode::ResourceNotFound, text));
        }
        let record = RemoveUserScramCredentialRecord {
            name: deletion.name.to_string().into(),
            mechanism: deletion.mechanism,
        };
        Ok(VersionedRecord::new(record, 0))
    }

    fn new_credential(&self, upsertion: &ScramCredentialUpsertion<'_>) -> Result<VersionedRecord, ApiError> {
        self.check_credential(&upsertion.name, upsertion.mechanism)?;
        let unacceptable = |text: &str| Err(ApiError::new(ErrorCode::UnacceptableCredential, text));
        if upsertion.iterations < MIN_ITERATIONS {
            return unacceptable("Too few iterations");
        }
        if upsertion.iterations > MAX_ITERATIONS {
            return unacceptable("Too many iterations");
        }
        if upsertion.salted_password.is_empty() {
            // Kafka fails with what its HMAC says about an empty key.
            return Err(ApiError::bare(ErrorCode::UnknownServerError));
        }
        let (stored_key, server_key) = match upsertion.mechanism {
            SHA_256 => (
                stored_key::<Hmac<Sha256>, Sha256>(&upsertion.salted_password),
                server_key::<Hmac<Sha256>>(&upsertion.salted_password),
            ),
            _ => (
                stored_key::<Hmac<Sha512>, Sha512>(&upsertion.salted_password),
                server_key::<Hmac<Sha512>>(&upsertion.salted_password),
            ),
        };
        let record = UserScramCredentialRecord {
            name: upsertion.name.to_string().into(),
            mechanism: upsertion.mechanism,
            salt: upsertion.salt.to_vec().into(),
            stored_key: stored_key.into(),
            server_key: server_key.into(),
            iterations: upsertion.iterations,
        };
        Ok(VersionedRecord::new(record, 0))
    }

    fn check_credential(&self, user: &str, mechanism: i8) -> Result<(), ApiError> {
        if !self.version()?.has_scram() {
            let text = "The current metadata.version does not support SCRAM";
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
        }
        if user.is_empty() {
            return Err(ApiError::new(ErrorCode::UnacceptableCredential, "Username must not be empty"));
        }
        if !matches!(mechanism, SHA_256 | SHA_512) {
            return Err(ApiError::new(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"));
        }
        Ok(())
    }
}

/// A user may be named only once in all of a request.
fn note<'a>(
    outcomes: &mut Outcomes<'a>,
    user: &'a str,
    outcome: impl FnOnce() -> Result<VersionedRecord, ApiError>,
) {
    match outcomes.get(user) {
        None => drop(outcomes.insert(user, outcome())),
        // The first error stays.
        Some(Err(_)) => {}
        Some(Ok(_)) => {
            let text = "A user credential cannot be altered twice in the same request";
            outcomes.insert(user, Err(ApiError::new(ErrorCode::DuplicateResource, text)));
        }
    }
}

fn hmac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("any length of key will do");
    Mac::update(&mut mac, text);
    mac.finalize().into_bytes().to_vec()
}

/// `StoredKey` of RFC 5802: the hash of the client's key.
fn stored_key<M: Mac + KeyInit, D: Digest>(salted_password: &[u8]) -> Vec<u8> {
    D::digest(hmac::<M>(salted_password, b"Client Key")).to_vec()
}

/// `ServerKey` of RFC 5802.
fn server_key<M: Mac + KeyInit>(salted_password: &[u8]) -> Vec<u8> {
    hmac::<M>(salted_password, b"Server Key")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the example in RFC 7677 (user `user`, password `pencil`, 4096 iterations).
    #[test]
    fn keys_are_those_of_the_rfc() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
                .collect()
        };
        let salted = hex("c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d");
        assert_eq!(
            stored_key::<Hmac<Sha256>, Sha256>(&salted),
            hex("586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6")
        );
        assert_eq!(
            server_key::<Hmac<Sha256>>(&salted),
            hex("c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5")
        );
    }
}
