/* tls_context.h -- what TLS connections begin with: certificate, key, whom to trust and how to speak, loaded once and shared.
 *
 * Immutable once made, and counted: a connection keeps the one that it began with, so another can take its place at any time.
 * Threads: any. Files are read through os/ while it is made, and never again, but for tls-ca-cert-dir: there OpenSSL looks for
 * the issuer of a certificate that a client shows.
 */
#ifndef HF_NET_TLS_CONTEXT_H
#define HF_NET_TLS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As the settings of the same names; texts "" or NULL: not given. */
struct tls_settings {
    const char *cert_file, *key_file, *key_file_pass, *ca_cert_file, *ca_cert_dir, *dh_params_file;
    const char *protocols, *ciphers, *ciphersuites;
    enum tls_auth { TLS_AUTH_NO, TLS_AUTH_YES, TLS_AUTH_OPTIONAL } auth_clients;
    bool prefer_server_ciphers, session_caching;
    int64_t session_cache_size, session_cache_timeout_s;
};

struct ssl_ctx_st;
struct tls_context; /* OpenSSL's SSL_CTX */

/* NULL: `error` names the setting, the file and what to do. Else `notice` is "" or something that the operator should know. */
struct tls_context *tls_context_new(const struct tls_settings *s, char *error, size_t error_size, char *notice, size_t notice_size);
struct tls_context *tls_context_ref(struct tls_context *t);
void tls_context_unref(struct tls_context *t); /* NULL: nothing */
struct ssl_ctx_st *tls_context_of(struct tls_context *t);

#endif
