/* tls_context.c -- files and words of the settings, made into a context of OpenSSL.
 *
 * Each step refuses with a sentence of its own; OpenSSL's reason stands behind it. The queue of OpenSSL's errors is left empty.
 */
#include "net/tls_context.h"

#include "base/bytes.h"
#include "base/memory.h"
#include "base/words.h"
#include "os/os.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#define PEM_SIZE_MAX (16u << 20) /* the certificates of all authorities that there are take some hundred kilobytes */
#define CLIENT_CHAIN_MAX (64u << 10)

struct maker {
    const struct tls_settings *settings;
    SSL_CTX *context;
    char *error;
    size_t error_size;
};

static bool given(const char *text) { return text && text[0]; }

/* With the reason that OpenSSL gives, if it gives one. False. */
static bool refuse(struct maker *m, const char *setting, const char *value, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(m->error, m->error_size, "%s %.300s: %s%s%s%s", setting, value, what, reason ? " (" : "", reason ? reason : "", reason ? ")" : "");
    ERR_clear_error();
    return false;
}

/* NULL: refused. Its bytes are those of *data, to be freed behind it. */
static BIO *open_pem(struct maker *m, const char *setting, const char *path, void **data)
{
    char what[256];
    size_t size = 0;
    int result = os_read_file(path, PEM_SIZE_MAX, data, &size);
    if (result < 0) {
        snprintf(what, sizeof(what), "cannot read the file: %s; it must exist and be readable by the user of this process", strerror(-result));
        refuse(m, setting, path, what);
        return NULL;
    }
    BIO *bio = BIO_new_mem_buf(*data, (int)size);
    hf_assert(bio);
    return bio;
}

static void close_pem(BIO *bio, void *data, size_t secret)
{
    if (secret)
        OPENSSL_cleanse(data, secret);
    BIO_free(bio);
    mem_free(data);
}

/* The next certificate of a file; NULL: there are no more, or it is none (then there is an error). */
static X509 *next_certificate(BIO *bio)
{
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (!certificate && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
        ERR_clear_error();
    return certificate;
}

/* The server's own comes first, those that lead to an authority behind it. */
static bool load_certificate(struct maker *m)
{
    const char *path = m->settings->cert_file;
    void *data;
    BIO *bio = open_pem(m, "tls-cert-file", path, &data);
    if (!bio)
        return false;
    X509 *certificate = next_certificate(bio);
    bool good = certificate && SSL_CTX_use_certificate(m->context, certificate) == 1;
    X509_free(certificate);
    while (good && (certificate = next_certificate(bio)) != NULL) {
        good = SSL_CTX_add0_chain_cert(m->context, certificate) == 1;
        if (!good)
            X509_free(certificate);
    }
    good = good && ERR_peek_error() == 0;
    close_pem(bio, data, 0);
    return good || refuse(m, "tls-cert-file", path, "it must hold the server's certificate in PEM form, then those of its chain");
}

static int give_password(char *out, int size, int writing, void *password)
{
    const char *text = password;
    size_t length = text ? strlen(text) : 0;
    (void)writing;
    if (length > (size_t)size)
        return -1;
    memcpy(out, text ? text : "", length);
    return (int)length;
}

static bool load_key(struct maker *m)
{
    const char *path = m->settings->key_file, *password = m->settings->key_file_pass;
    void *data;
    BIO *bio = open_pem(m, "tls-key-file", path, &data);
    if (!bio)
        return false;
    size_t size = (size_t)BIO_pending(bio);
    bool locked = size && (memmem(data, size, "ENCRYPTED", 9) != NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, (void *)(uintptr_t)password);
    close_pem(bio, data, size);
    if (!key)
        return refuse(m, "tls-key-file", path,
                      !locked             ? "it must hold the private key of tls-cert-file in PEM form"
                      : !given(password) ? "the key is encrypted: set tls-key-file-pass"
                                         : "tls-key-file-pass does not open it");
    bool good = SSL_CTX_use_PrivateKey(m->context, key) == 1;
    EVP_PKEY_free(key);
    return (good && SSL_CTX_check_private_key(m->context) == 1) ||
           refuse(m, "tls-key-file", path, "it is not the key of the certificate in tls-cert-file");
}

/* Clients are told the names of those that are trusted, so that they can choose among their certificates. */
static bool load_authorities(struct maker *m)
{
    const char *path = m->settings->ca_cert_file;
    X509_STORE *store = SSL_CTX_get_cert_store(m->context);
    void *data;
    size_t count = 0;
    BIO *bio = open_pem(m, "tls-ca-cert-file", path, &data);
    if (!bio)
        return false;
    bool good = true;
    for (X509 *certificate; good && (certificate = next_certificate(bio)) != NULL; count++) {
        good = X509_STORE_add_cert(store, certificate) == 1 && SSL_CTX_add_client_CA(m->context, certificate) == 1;
        X509_free(certificate);
    }
    good = good && count && ERR_peek_error() == 0;
    close_pem(bio, data, 0);
    return good || refuse(m, "tls-ca-cert-file", path, "it must hold certificates of authorities in PEM form");
}

static void ignore_name(void *context, const char *name)
{
    (void)context;
    (void)name;
}

static bool trust(struct maker *m)
{
    const struct tls_settings *s = m->settings;
    static const int modes[] = {[TLS_AUTH_NO] = SSL_VERIFY_NONE, [TLS_AUTH_YES] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                                [TLS_AUTH_OPTIONAL] = SSL_VERIFY_PEER};
    if (!given(s->ca_cert_file) && !given(s->ca_cert_dir) && s->auth_clients != TLS_AUTH_NO)
        return refuse(m, "tls-auth-clients", s->auth_clients == TLS_AUTH_YES ? "yes" : "optional",
                      "clients are known by their certificates: set tls-ca-cert-file or tls-ca-cert-dir, or tls-auth-clients no");
    if (given(s->ca_cert_file) && !load_authorities(m))
        return false;
    if (given(s->ca_cert_dir) && OS.list_dir(s->ca_cert_dir, ignore_name, NULL) < 0)
        return refuse(m, "tls-ca-cert-dir", s->ca_cert_dir, "it must be a directory that the user of this process may read");
    if (given(s->ca_cert_dir) && SSL_CTX_load_verify_dir(m->context, s->ca_cert_dir) != 1)
        return refuse(m, "tls-ca-cert-dir", s->ca_cert_dir, "it must be a directory of certificates named as openssl rehash names them");
    SSL_CTX_set_verify(m->context, modes[s->auth_clients], NULL);
    return true;
}

/* -- how to speak -- */

static const struct { const char *word; uint64_t without; } protocols[] = {
    {"TLSv1", SSL_OP_NO_TLSv1}, {"TLSv1.1", SSL_OP_NO_TLSv1_1}, {"TLSv1.2", SSL_OP_NO_TLSv1_2}, {"TLSv1.3", SSL_OP_NO_TLSv1_3},
};
#define ALL_PROTOCOLS (SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3)

static uint64_t without(const char *word)
{
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
        if (bytes_is_word(bytes_str(word), protocols[i].word))
            return protocols[i].without;
    return 0;
}

static bool choose_protocols(struct maker *m)
{
    const char *text = m->settings->protocols;
    uint64_t off = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1;
    struct words w;
    if (given(text)) {
        bool split = words_split(&w, bytes_str(text)), good = split;
        off = ALL_PROTOCOLS;
        for (size_t i = 0; good && i < w.count; i++) {
            good = without(w.items[i]) != 0;
            off &= ~without(w.items[i]);
        }
        if (split)
            words_release(&w);
        if (!good || off == ALL_PROTOCOLS)
            return refuse(m, "tls-protocols", text, "it takes words of TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3");
    }
    SSL_CTX_set_options(m->context, off);
    return true;
}

static bool choose_ciphers(struct maker *m)
{
    const struct tls_settings *s = m->settings;
    if (given(s->ciphers) && SSL_CTX_set_cipher_list(m->context, s->ciphers) != 1)
        return refuse(m, "tls-ciphers", s->ciphers, "it must name ciphers as openssl ciphers -tls1_2 does");
    if (given(s->ciphersuites) && SSL_CTX_set_ciphersuites(m->context, s->ciphersuites) != 1)
        return refuse(m, "tls-ciphersuites", s->ciphersuites, "it must name ciphersuites of TLS 1.3 as openssl ciphers -tls1_3 does");
    if (s->prefer_server_ciphers)
        SSL_CTX_set_options(m->context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    return true;
}

static bool choose_dh(struct maker *m)
{
    const char *path = m->settings->dh_params_file;
    void *data;
    SSL_CTX_set_dh_auto(m->context, 1);
    if (!given(path))
        return true;
    BIO *bio = open_pem(m, "tls-dh-params-file", path, &data);
    if (!bio)
        return false;
    EVP_PKEY *parameters = PEM_read_bio_Parameters(bio, NULL);
    bool good = parameters && SSL_CTX_set0_tmp_dh_pkey(m->context, parameters) == 1;
    if (!good)
        EVP_PKEY_free(parameters);
    close_pem(bio, data, 0);
    return good || refuse(m, "tls-dh-params-file", path, "it must hold parameters as openssl dhparam makes them");
}

/* Without caching nothing is resumed, by tickets neither. */
static void choose_sessions(struct maker *m)
{
    const struct tls_settings *s = m->settings;
    static const unsigned char name[] = "holdfast";
    SSL_CTX_set_session_id_context(m->context, name, sizeof(name) - 1);
    SSL_CTX_set_session_cache_mode(m->context, s->session_caching ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_cache_size(m->context, s->session_cache_size);
    SSL_CTX_set_timeout(m->context, s->session_cache_timeout_s);
    if (s->session_caching)
        return;
    SSL_CTX_set_options(m->context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(m->context, 0);
}

static void choose_ways(struct maker *m)
{
    SSL_CTX_set_options(m->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                        SSL_OP_SINGLE_DH_USE | SSL_OP_SINGLE_ECDH_USE);
    SSL_CTX_set_mode(m->context, SSL_MODE_RELEASE_BUFFERS); /* an idle connection holds none */
    SSL_CTX_set_read_ahead(m->context, 1);
    SSL_CTX_set_max_cert_list(m->context, CLIENT_CHAIN_MAX);
}

/* -- the whole -- */

static bool make(struct maker *m)
{
    const struct tls_settings *s = m->settings;
    if (!given(s->cert_file))
        return refuse(m, "tls-cert-file", "is empty", "TLS needs the certificate of this server: set it, and tls-key-file");
    if (!given(s->key_file))
        return refuse(m, "tls-key-file", "is empty", "TLS needs the private key of tls-cert-file: set it");
    choose_ways(m);
    choose_sessions(m);
    return choose_protocols(m) && load_certificate(m) && load_key(m) && trust(m) && choose_ciphers(m) && choose_dh(m);
}

static void look_at_dates(const struct maker *m, char *notice, size_t size)
{
    const X509 *certificate = SSL_CTX_get0_certificate(m->context);
    notice[0] = 0;
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        snprintf(notice, size, "tls-cert-file %.300s: the certificate has expired, clients will refuse it", m->settings->cert_file);
    else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        snprintf(notice, size, "tls-cert-file %.300s: the certificate is not valid yet, clients will refuse it", m->settings->cert_file);
}

struct tls_context *tls_context_new(const struct tls_settings *s, char *error, size_t error_size, char *notice, size_t notice_size)
{
    struct maker m = {.settings = s, .error = error, .error_size = error_size};
    ERR_clear_error();
    m.context = SSL_CTX_new(TLS_server_method());
    hf_assert(m.context);
    if (make(&m)) {
        look_at_dates(&m, notice, notice_size);
        ERR_clear_error();
        return (struct tls_context *)m.context;
    }
    SSL_CTX_free(m.context);
    ERR_clear_error();
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *t)
{
    SSL_CTX_up_ref(tls_context_of(t));
    return t;
}

void tls_context_unref(struct tls_context *t) { SSL_CTX_free(tls_context_of(t)); }

struct ssl_ctx_st *tls_context_of(struct tls_context *t) { return (struct ssl_ctx_st *)t; }
