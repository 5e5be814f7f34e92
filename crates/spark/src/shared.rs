//! Sessions that share what executors have compiled.
//!
//! A Spark Connect server keeps the code that each session brings apart (`spark.sql.artifact.isolation.enabled`, which it sets
//! itself, whatever its settings say). So executors compile all that Spark generates anew for each session, and ask the driver
//! for each class that they lack: a third of a mart's time. We bring no code. A session is kept apart or not from when it is
//! first asked anything, so one is told not to be, and a copy of it is used.

use std::str::FromStr;

use spark_connect::{SparkError, SparkSession};
use spark_connect_core::channel::ChannelBuilder;
use spark_connect_proto::{
    CloneSessionRequest, UserContext, spark_connect_service_client::SparkConnectServiceClient,
};
use tonic::{
    Code, Request,
    metadata::{Ascii, MetadataKey, MetadataValue},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

const APART: &str = "spark.sql.artifact.isolation.enabled";

/// A session and its name.
pub(crate) struct Named {
    pub(crate) name: String,
    /// Where it is, as the client wants it; holds the token.
    pub(crate) url: String,
}

/// Opens a session that shares, with these settings. Blocks. The first one is of no use to others.
pub(crate) fn open(
    first: &Named,
    copy: &Named,
    settings: &[(&str, &str)],
) -> Result<SparkSession, SparkError> {
    let session = SparkSession::builder().remote(&first.url).get_or_create()?;
    for (name, value) in [(APART, "false")].iter().chain(settings) {
        session.conf().set(name, value)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| SparkError::connect_msg(error.to_string()))?;
    match runtime.block_on(clone(first, copy)) {
        Ok(()) => {}
        // A server that cannot do it.
        Err(status) if status.code() == Code::Unimplemented => return Ok(session),
        Err(status) => return Err(SparkError::from_grpc_status(status)),
    }
    session.stop()?;
    SparkSession::builder().remote(&copy.url).get_or_create()
}

/// The client has no call for it: what its `clone_session` makes is a new session.
async fn clone(of: &Named, copy: &Named) -> Result<(), tonic::Status> {
    let place = ChannelBuilder::parse(&of.url).map_err(|error| invalid(&error))?;
    let user_id = place.user_id().unwrap_or_default().to_owned();
    let mut request = Request::new(CloneSessionRequest {
        session_id: of.name.clone(),
        user_context: Some(UserContext { user_id, ..UserContext::default() }),
        new_session_id: Some(copy.name.clone()),
        ..CloneSessionRequest::default()
    });
    let token = place.token().map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
    for (name, value) in place.metadata().into_iter().chain(token) {
        let name = MetadataKey::<Ascii>::from_str(&name).map_err(|error| invalid(&error))?;
        request
            .metadata_mut()
            .insert(name, MetadataValue::from_str(&value).map_err(|error| invalid(&error))?);
    }
    let channel = channel(&place).await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    SparkConnectServiceClient::new(channel).clone_session(request).await.map(drop)
}

/// As the client makes it. That it says no token to another machine without TLS it has checked by now.
async fn channel(place: &ChannelBuilder) -> Result<Channel, tonic::transport::Error> {
    let scheme = if place.use_ssl() { "https" } else { "http" };
    let endpoint = Endpoint::new(format!("{scheme}://{}", place.endpoint()))?;
    let tls = || ClientTlsConfig::new().domain_name(place.host()).with_native_roots();
    let endpoint = if place.use_ssl() { endpoint.tls_config(tls())? } else { endpoint };
    endpoint.connect().await
}

fn invalid(error: &impl ToString) -> tonic::Status {
    tonic::Status::invalid_argument(error.to_string())
}
