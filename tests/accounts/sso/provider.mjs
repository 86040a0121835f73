// A real OpenID provider on loopback for the tests: node provider.mjs <redirect uri> <logout uri> <signed-out uri>
// It prints its port once it listens, and ends with its standard input.
import * as jose from 'jose';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirect, logout, signedOut] = process.argv.slice(2);
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
    features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    scopes: ['openid', 'email', 'profile', 'groups'],
    async findAccount(ctx, id) {
      return {
        accountId: id,
        claims: () => ({
          sub: id, email: `${id}@example.org`, email_verified: true, name: id, groups: ['engineering', 'everyone'],
        }),
      };
    },
  });
  server.on('request', provider.callback());
  console.log(server.address().port);
});
process.stdin.on('end', () => process.exit(0)).resume();
