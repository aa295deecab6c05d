/* tls_settings.h -- from the settings to what TLS connections begin with: at start, at CONFIG SET, at refresh_certs. */
#ifndef HF_SERVER_TLS_SETTINGS_H
#define HF_SERVER_TLS_SETTINGS_H

#include "cmd/host.h"

/* Before any thread; also for --check-config. Without a port of TLS nothing is looked at. False: `error` says what to mend. */
bool tls_start(char *error, size_t size);
void tls_follow_settings(void); /* from here on CONFIG SET changes it */
/* For struct host; any thread. */
enum tls_refreshed tls_refresh(char *error, size_t size);
bool tls_facts(uint64_t *refused, uint64_t *age_s);

#endif
