//! Broker keys: security.

use super::area;

area! { Broker "Security"
    "connections.max.reauth.ms": Long "0", Any, Medium, ReadOnly, Later,
        "How long a SASL session lasts before the client must authenticate again; 0 turns this off.";
    "delegation.token.expiry.check.interval.ms": Long "3600000", AtLeast(1), Low, ReadOnly, Later,
        "How often expired delegation tokens are removed.";
    "delegation.token.expiry.time.ms": Long "86400000", AtLeast(1), Medium, ReadOnly, Later,
        "How long a delegation token is valid without renewal.";
    "delegation.token.max.lifetime.ms": Long "604800000", AtLeast(1), Medium, ReadOnly, Later,
        "How long a delegation token may live with renewals.";
    "delegation.token.secret.key": Password null, Any, Medium, ReadOnly, Later,
        "Secret that signs delegation tokens, the same on all nodes; unset, there are no tokens.";
    "principal.builder.class": Class "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", Any, Medium, PerBroker, Nothing,
        "Java class that turns an authenticated peer into a principal. The built-in rules apply here.";
    "sasl.client.callback.handler.class": Class null, Any, Medium, ReadOnly, Nothing,
        "Java class for client-side SASL callbacks.";
    "sasl.enabled.mechanisms": List "GSSAPI", UniqueList, Medium, PerBroker, Later,
        "SASL mechanisms that clients may use.";
    "sasl.jaas.config": Password null, Any, Medium, PerBroker, Later,
        "Login module and options of a listener and mechanism, in JAAS syntax.";
    "sasl.kerberos.kinit.cmd": String "/usr/bin/kinit", Any, Medium, PerBroker, Nothing,
        "Path of `kinit`. There is no Kerberos here.";
    "sasl.kerberos.min.time.before.relogin": Long "60000", Any, Medium, PerBroker, Nothing,
        "Shortest time between two Kerberos logins. There is no Kerberos here.";
    "sasl.kerberos.principal.to.local.rules": List "DEFAULT", UniqueList, Medium, PerBroker, Later,
        "Rules that shorten a Kerberos principal to a user name.";
    "sasl.kerberos.service.name": String null, Any, Medium, PerBroker, Later,
        "Kerberos service name of the brokers.";
    "sasl.kerberos.ticket.renew.jitter": Double "0.05", Any, Medium, PerBroker, Nothing,
        "Random part of the ticket renewal time. There is no Kerberos here.";
    "sasl.kerberos.ticket.renew.window.factor": Double "0.8", Any, Medium, PerBroker, Nothing,
        "Part of a ticket's life after which it is renewed. There is no Kerberos here.";
    "sasl.login.callback.handler.class": Class null, Any, Medium, ReadOnly, Nothing,
        "Java class for login callbacks.";
    "sasl.login.class": Class null, Any, Medium, ReadOnly, Nothing,
        "Java class for logins.";
    "sasl.login.connect.timeout.ms": Int null, Any, Low, ReadOnly, Later,
        "How long connecting to an OAuth provider may take.";
    "sasl.login.read.timeout.ms": Int null, Any, Low, ReadOnly, Later,
        "How long reading from an OAuth provider may take.";
    "sasl.login.refresh.buffer.seconds": Short "300", Any, Medium, PerBroker, Later,
        "Time before expiry in which a login credential should not still be waiting for its refresh.";
    "sasl.login.refresh.min.period.seconds": Short "60", Any, Medium, PerBroker, Later,
        "Shortest time between two refreshes of a login credential.";
    "sasl.login.refresh.window.factor": Double "0.8", Any, Medium, PerBroker, Later,
        "Part of a login credential's life after which it is refreshed.";
    "sasl.login.refresh.window.jitter": Double "0.05", Any, Medium, PerBroker, Later,
        "Random part of that time.";
    "sasl.login.retry.backoff.max.ms": Long "10000", Any, Low, ReadOnly, Later,
        "Upper end of the pause between tries at the OAuth provider.";
    "sasl.login.retry.backoff.ms": Long "100", Any, Low, ReadOnly, Later,
        "First pause between tries at the OAuth provider.";
    "sasl.mechanism.inter.broker.protocol": String "GSSAPI", Any, Medium, PerBroker, Later,
        "SASL mechanism between brokers.";
    "sasl.oauthbearer.allow.unverified.audience": Boolean "false", Any, Medium, ReadOnly, Later,
        "Accept tokens whose audience is not checked.";
    "sasl.oauthbearer.allow.unverified.issuer": Boolean "false", Any, Medium, ReadOnly, Later,
        "Accept tokens whose issuer is not checked.";
    "sasl.oauthbearer.assertion.algorithm": String "RS256", OneOfIgnoreCase(&["ES256", "RS256"]), Medium, ReadOnly, Later,
        "Algorithm that signs the client assertion.";
    "sasl.oauthbearer.assertion.claim.aud": String null, Any, Medium, ReadOnly, Later,
        "`aud` claim of the client assertion.";
    "sasl.oauthbearer.assertion.claim.exp.seconds": Int "300", Between(0, 86400), Low, ReadOnly, Later,
        "How long a client assertion is valid.";
    "sasl.oauthbearer.assertion.claim.iss": String null, Any, Medium, ReadOnly, Later,
        "`iss` claim of the client assertion.";
    "sasl.oauthbearer.assertion.claim.jti.include": Boolean "false", Any, Medium, ReadOnly, Later,
        "Put a unique id into the client assertion.";
    "sasl.oauthbearer.assertion.claim.nbf.seconds": Int "60", Between(0, 3600), Low, ReadOnly, Later,
        "How far back the client assertion's validity begins.";
    "sasl.oauthbearer.assertion.claim.sub": String null, Any, Medium, ReadOnly, Later,
        "`sub` claim of the client assertion.";
    "sasl.oauthbearer.assertion.file": String null, Any, Medium, ReadOnly, Later,
        "File with a ready client assertion.";
    "sasl.oauthbearer.assertion.private.key.file": String null, Any, Medium, ReadOnly, Later,
        "File with the key that signs the client assertion.";
    "sasl.oauthbearer.assertion.private.key.passphrase": Password null, Any, Medium, ReadOnly, Later,
        "Passphrase of that key.";
    "sasl.oauthbearer.assertion.template.file": String null, Any, Medium, ReadOnly, Later,
        "File with fixed headers and claims of the client assertion.";
    "sasl.oauthbearer.client.credentials.client.id": String null, Any, Medium, ReadOnly, Later,
        "Client id for the OAuth client credentials grant.";
    "sasl.oauthbearer.client.credentials.client.secret": Password null, Any, Medium, ReadOnly, Later,
        "Client secret for the OAuth client credentials grant.";
    "sasl.oauthbearer.clock.skew.seconds": Int "30", Any, Low, ReadOnly, Later,
        "Difference between clocks that is tolerated when a token is checked.";
    "sasl.oauthbearer.expected.audience": List "", UniqueList, High, ReadOnly, Later,
        "Audiences of which a token must name one.";
    "sasl.oauthbearer.expected.issuer": String null, Any, High, ReadOnly, Later,
        "Issuer that a token must name.";
    "sasl.oauthbearer.jwks.endpoint.refresh.ms": Long "3600000", Any, Low, ReadOnly, Later,
        "How often the provider's keys are fetched again.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": Long "10000", Any, Low, ReadOnly, Later,
        "Upper end of the pause between tries to fetch the keys.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms": Long "100", Any, Low, ReadOnly, Later,
        "First pause between tries to fetch the keys.";
    "sasl.oauthbearer.jwks.endpoint.url": String null, Any, Medium, ReadOnly, Later,
        "Where the provider's keys are: an https or file URL.";
    "sasl.oauthbearer.jwt.retriever.class": Class "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", Any, Medium, ReadOnly, Nothing,
        "Java class that fetches tokens.";
    "sasl.oauthbearer.jwt.validator.class": Class "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", Any, Medium, ReadOnly, Nothing,
        "Java class that checks tokens.";
    "sasl.oauthbearer.scope": String null, Any, Medium, ReadOnly, Later,
        "Scope asked for when a token is fetched.";
    "sasl.oauthbearer.scope.claim.name": String "scope", Any, Low, ReadOnly, Later,
        "Claim that holds the scope.";
    "sasl.oauthbearer.sub.claim.name": String "sub", Any, Low, ReadOnly, Later,
        "Claim that holds the subject.";
    "sasl.oauthbearer.token.endpoint.url": String null, Any, Medium, ReadOnly, Later,
        "Where tokens are fetched: an https or file URL.";
    "sasl.server.callback.handler.class": Class null, Any, Medium, ReadOnly, Nothing,
        "Java class for server-side SASL callbacks.";
    "sasl.server.max.receive.size": Int "524288", Any, Medium, ReadOnly, Later,
        "Largest SASL message that is read before authentication.";
    "ssl.allow.dn.changes": Boolean "false", Any, Low, ReadOnly, Later,
        "Let a new key store certificate have another distinguished name than the old one.";
    "ssl.allow.san.changes": Boolean "false", Any, Low, ReadOnly, Later,
        "Let a new key store certificate lack alternative names of the old one.";
    "ssl.cipher.suites": List "", UniqueList, Medium, PerBroker, Later,
        "Cipher suites that may be used; empty leaves the choice to the TLS library.";
    "ssl.client.auth": String "none", OneOf(&["required", "requested", "none"]), Medium, PerBroker, Later,
        "Whether clients must (`required`), may (`requested`) or need not (`none`) show a certificate.";
    "ssl.enabled.protocols": List "TLSv1.2,TLSv1.3", UniqueList, Medium, PerBroker, Later,
        "TLS versions that may be used.";
    "ssl.endpoint.identification.algorithm": String "https", Any, Low, PerBroker, Later,
        "How this node checks the host name of a server it connects to; empty turns the check off.";
    "ssl.engine.factory.class": Class null, Any, Low, PerBroker, Nothing,
        "Java class that builds TLS engines.";
    "ssl.key.password": Password null, Any, Medium, PerBroker, Later,
        "Password of the private key.";
    "ssl.keymanager.algorithm": String "SunX509", Any, Medium, PerBroker, Nothing,
        "Java key manager algorithm.";
    "ssl.keystore.certificate.chain": Password null, Any, Medium, PerBroker, Later,
        "Certificate chain in PEM form.";
    "ssl.keystore.key": Password null, Any, Medium, PerBroker, Later,
        "Private key in PEM form.";
    "ssl.keystore.location": String null, Any, Medium, PerBroker, Later,
        "File of the key store.";
    "ssl.keystore.password": Password null, Any, Medium, PerBroker, Later,
        "Password of the key store.";
    "ssl.keystore.type": String "JKS", Any, Medium, PerBroker, Later,
        "Format of the key store: `PEM`, `PKCS12` or `JKS`.";
    "ssl.principal.mapping.rules": String "DEFAULT", Any, Low, ReadOnly, Later,
        "Rules that turn a certificate's distinguished name into a user name.";
    "ssl.protocol": String "TLSv1.3", Any, Medium, PerBroker, Nothing,
        "Java name of the TLS context.";
    "ssl.provider": String null, Any, Medium, PerBroker, Nothing,
        "Java security provider for TLS.";
    "ssl.secure.random.implementation": String null, Any, Low, PerBroker, Nothing,
        "Java random number generator for TLS.";
    "ssl.trustmanager.algorithm": String "PKIX", Any, Medium, PerBroker, Nothing,
        "Java trust manager algorithm.";
    "ssl.truststore.certificates": Password null, Any, Medium, PerBroker, Later,
        "Trusted certificates in PEM form.";
    "ssl.truststore.location": String null, Any, Medium, PerBroker, Later,
        "File of the trust store.";
    "ssl.truststore.password": Password null, Any, Medium, PerBroker, Later,
        "Password of the trust store.";
    "ssl.truststore.type": String "JKS", Any, Medium, PerBroker, Later,
        "Format of the trust store: `PEM`, `PKCS12` or `JKS`.";
}
