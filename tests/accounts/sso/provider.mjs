// A real OpenID provider on loopback for the tests: node provider.mjs <redirect uri> <logout uri> <signed-out uri>
// It prints its port once it listens, and ends with its standard input. Whoever is named signs in, with whatever
// password; who ticks the box used a second factor.
import * as jose from 'jose';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirect, logout, signedOut] = process.argv.slice(2);
const page = (title, body) => `<!doctype html><html lang="en"><title>${title}</title><h1>${title}</h1>${body}</html>`;
const loginPage = (uid) => page('Real ID', `<form action="/interaction/${uid}" method="post">
  <p><label>Name <input name="login" required></label></p>
  <p><label>Password <input name="password" type="password"></label></p>
  <p><label><input name="factor" type="checkbox" value="yes"> with a second factor</label></p>
  <button>Sign in</button></form>`);

async function said(request) {
  let text = '';
  for await (const part of request) text += part;
  return new URLSearchParams(text);
}

const server = createServer();
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
  const key = { ...(await jose.exportJWK(privateKey)), kid: 'first', use: 'sig', alg: 'RS256' };
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'opssight', client_secret: 'a-secret-of-the-tests', redirect_uris: [redirect],
      post_logout_redirect_uris: [signedOut], backchannel_logout_uri: logout, backchannel_logout_session_required: true,
    }],
    jwks: { keys: [key] },
    cookies: { keys: ['tests'] },
    pkce: { required: () => true },
    fetch: (url, { dispatcher, ...options }) => fetch(url, options), // its own would not tell anybody on loopback
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(ctx, form) {
          const button = '<button form="op.logoutForm" name="logout" value="yes">Sign out</button>';
          ctx.body = page('Sign out of Real ID?', form + button);
        },
        postLogoutSuccessSource(ctx) { ctx.body = page('Signed out of Real ID', ''); },
      },
    },
    claims: {
      openid: ['sub', 'amr'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'],
    },
    scopes: ['openid', 'email', 'profile', 'groups'],
    async findAccount(ctx, id) {
      return {
        accountId: id,
        claims: () => ({
          sub: id, email: `${id}@example.org`, email_verified: true, name: id, groups: ['engineering', 'everyone'],
        }),
      };
    },
    async loadExistingGrant(ctx) { // nobody is asked what we may know
      const { oidc } = ctx;
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope('openid email profile groups');
      await grant.save();
      return grant;
    },
  });
  const answer = provider.callback();
  server.on('request', async (request, response) => {
    if (!request.url.startsWith('/interaction/')) return answer(request, response);
    try {
      if (request.method === 'POST') {
        const given = await said(request);
        const amr = given.get('factor') ? ['pwd', 'mfa'] : ['pwd'];
        const login = { accountId: given.get('login'), amr };
        return await provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
      }
      const { uid } = await provider.interactionDetails(request, response);
      return response.setHeader('Content-Type', 'text/html').end(loginPage(uid));
    } catch (error) {
      console.error(error);
      return response.writeHead(500).end();
    }
  });
  console.log(server.address().port);
});
process.stdin.on('end', () => process.exit(0)).resume();
