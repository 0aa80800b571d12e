//! What does a person do, and what does Keycloak ask of them?
//!
//! People use Keycloak's login form, as in a browser: pages, forms and cookies. Nothing here uses an administrator's rights.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use anyhow::{Context, Result, bail};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::options::PEOPLE_CLIENT;
use super::realm::Realm;
use crate::random;

/// Nothing listens there: arriving is the sign of success.
pub(crate) const REDIRECT: &str = "http://127.0.0.1/signed-in";
const LOGIN_FORM: &str = "kc-form-login";
const PASSWORD_FORM: &str = "kc-passwd-update-form";
const MOST_REDIRECTS: usize = 10;

/// What came of a sign-in with user name and password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// Keycloak issued tokens.
    Granted,
    /// The password is right, but something must be done first, such as changing it.
    MustActFirst,
    /// Wrong password, unknown or disabled user.
    Refused,
}

/// What the login form shows after user name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the user is signed in.
    Nothing,
    /// A new password.
    NewPassword,
    /// Something else; the page's title says what.
    Other(String),
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Realm {
    /// The user signs in through the login form and changes the password there, required or not. Keycloak removes the
    /// requirement itself.
    ///
    /// Errors when the user has no password, or when Keycloak asks for something else first, such as a one-time password.
    pub async fn user_changes_password(&self, name: &str) -> Result<()> {
        let new = random::hex()?;
        self.change_by_form(name, &new)
            .await
            .with_context(|| format!("{name} could not change the password in the login form"))?;
        self.remember_password(name, new);
        Ok(())
    }

    /// The user tries to sign in with the present password, by the password grant: no page is shown and nothing changes.
    pub async fn user_signs_in(&self, name: &str) -> Result<SignIn> {
        let password = self.password(name)?;
        let form =
            [("grant_type", "password"), ("client_id", PEOPLE_CLIENT), ("username", name), ("password", &password)];
        let url = format!("{}/protocol/openid-connect/token", self.url());
        let response = self.admin.http().post(url).form(&form).send().await?;
        if response.status().is_success() {
            return Ok(SignIn::Granted);
        }
        let refusal: Refusal = response.json().await?;
        match (refusal.error.as_str(), refusal.error_description.as_str()) {
            ("invalid_grant", "Account is not fully set up") => Ok(SignIn::MustActFirst),
            ("invalid_grant", _) => Ok(SignIn::Refused),
            (error, description) => bail!("Keycloak answered {error}: {description}"),
        }
    }

    fn password(&self, name: &str) -> Result<String> {
        self.passwords
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
            .with_context(|| format!("{name} has no password"))
    }

    /// The user signs in through the login form and stops at what it asks for next. Nothing changes.
    ///
    /// This is the truth about a requirement: unlike the password grant, the form passes over a required action that the
    /// realm has switched off. Errors when the user has no password or the form does not accept it.
    pub async fn user_is_asked_for(&self, name: &str) -> Result<Asked> {
        let mut browser = Browser::new(self.admin.http());
        let page = self.sign_in_by_form(&mut browser, name, "").await?;
        Ok(match page {
            Page::Arrived => Asked::Nothing,
            Page::Html(html) if form_action(&html, LOGIN_FORM).is_some() => {
                bail!("the login form does not accept the password of {name}")
            }
            Page::Html(html) if form_action(&html, PASSWORD_FORM).is_some() => Asked::NewPassword,
            Page::Html(html) => Asked::Other(title(&html)),
        })
    }

    async fn change_by_form(&self, name: &str, new: &str) -> Result<()> {
        let mut browser = Browser::new(self.admin.http());
        // kc_action asks for the change even when nobody requires it.
        let page = self.sign_in_by_form(&mut browser, name, "&kc_action=UPDATE_PASSWORD").await?;
        let Page::Html(html) = page else {
            bail!("Keycloak signed the user in without asking for a new password");
        };
        let Some(action) = form_action(&html, PASSWORD_FORM) else {
            bail!("Keycloak asks for something else: {}", title(&html));
        };
        let fields = [("password-new", new), ("password-confirm", new)];
        match browser.submit(&action, &fields).await? {
            Page::Arrived => Ok(()),
            Page::Html(html) => bail!("Keycloak is not content: {}", title(&html)),
        }
    }

    /// The page after the login form.
    async fn sign_in_by_form(&self, browser: &mut Browser<'_>, name: &str, parameters: &str) -> Result<Page> {
        let password = self.password(name)?;
        let start = format!(
            "{}/protocol/openid-connect/auth?client_id={PEOPLE_CLIENT}&response_type=code&scope=openid\
             &redirect_uri={REDIRECT}{parameters}",
            self.url()
        );
        let Page::Html(html) = browser.open(&start).await? else {
            bail!("Keycloak signed {name} in without a password");
        };
        let action = form_action(&html, LOGIN_FORM).with_context(|| format!("no login form but: {}", title(&html)))?;
        let fields = [("username", name), ("password", &password), ("credentialId", "")];
        browser.submit(&action, &fields).await
    }
}

enum Page {
    Html(String),
    /// At the redirect address.
    Arrived,
}

/// Follows redirects and keeps cookies, whatever their path: there is one site and one sign-in.
struct Browser<'a> {
    http: &'a reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(http: &'a reqwest::Client) -> Self {
        Self { http, cookies: BTreeMap::new() }
    }

    async fn open(&mut self, url: &str) -> Result<Page> {
        let mut url = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let request = self.http.get(&url).header(COOKIE, self.cookie_header());
            let response = request.send().await?;
            self.keep_cookies(&response);
            match redirect(&response)? {
                Some(next) if next.starts_with(REDIRECT) => return arrival(&next),
                Some(next) => url = next,
                None => return read(response).await,
            }
        }
        bail!("more than {MOST_REDIRECTS} redirects")
    }

    async fn submit(&mut self, url: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let request = self.http.post(url).header(COOKIE, self.cookie_header()).form(fields);
        let response = request.send().await?;
        self.keep_cookies(&response);
        match redirect(&response)? {
            Some(next) if next.starts_with(REDIRECT) => arrival(&next),
            Some(next) => self.open(&next).await,
            None => read(response).await,
        }
    }

    fn cookie_header(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn keep_cookies(&mut self, response: &Response) {
        for cookie in response.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap_or_default();
            let pair = text.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

fn redirect(response: &Response) -> Result<Option<String>> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).context("a redirect without an address")?;
    Ok(Some(location.to_str()?.to_owned()))
}

fn arrival(url: &str) -> Result<Page> {
    if url.contains("error=") {
        bail!("the sign-in ended at {url}");
    }
    Ok(Page::Arrived)
}

async fn read(response: Response) -> Result<Page> {
    let status = response.status();
    let html = response.text().await?;
    if status != StatusCode::OK {
        bail!("a page with status {status}: {}", title(&html));
    }
    Ok(Page::Html(html))
}

/// The address to which the form with that id is sent.
fn form_action(html: &str, id: &str) -> Option<String> {
    let at = html.find(&format!("id=\"{id}\""))?;
    let start = html[..at].rfind("<form")?;
    let tag = &html[start..start + html[start..].find('>')?];
    let action = tag.split_once("action=\"")?.1.split('"').next()?;
    Some(action.replace("&amp;", "&"))
}

fn title(html: &str) -> String {
    let between = |start: &str, end: &str| {
        let text = html.split_once(start)?.1.split_once(end)?.0;
        Some(text.trim().to_owned())
    };
    between("<title>", "</title>").unwrap_or_else(|| "a page without a title".to_owned())
}
