package main

// A program is a benign one that encrypts, or sends what looks as if. Server and Client are bash scripts; $S is the server's address, $D a folder of the
// program's own, $B the command benign, $P the same with only those of its parts that need no TLS library.
type program struct {
	Name     string
	What     string
	From     string   // Debian packages, or a Go module
	Needs    []string // executables
	Port     int      // TCP port by which the server is known to be up; 0: none
	Server   string
	Client   string
	Also     string // another address that the server is reached at
	ByNature string // why it is random, for those that are
	Slow     bool   // not in the quick campaign
}

// certificate makes $D/key.pem and $D/cert.pem.
const certificate = `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=www.example.com -addext subjectAltName=DNS:www.example.com 2>/dev/null; `

// sshd starts OpenSSH's server with keys of its own that trust $D/id.
const sshd = `ssh-keygen -q -t ed25519 -N "" -f host; ssh-keygen -q -t ed25519 -N "" -f id; cp id.pub authorized; mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -f /dev/null -p 22 -o ListenAddress=$S -h $D/host -o AuthorizedKeysFile=$D/authorized -o StrictModes=no -o PidFile=none -o UsePAM=no -o PermitRootLogin=yes`

const sshOptions = `-i $D/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o IdentitiesOnly=yes`

// openvpnKeys makes a certificate authority of one and a key for each side.
const openvpnKeys = certificate + `cp cert.pem ca.pem; openvpn --genkey secret static.key; mkdir -p /dev/net; `

// programs are the benign ones; the number in a program's address is its place here.
func programs() []program {
	return []program{
		{Name: "curl-tls13", What: "HTTPS, TLS 1.3", From: "curl, openssl", Needs: []string{"curl", "openssl"}, Port: 443,
			Server: certificate + `exec openssl s_server -accept $S:443 -key key.pem -cert cert.pem -www -quiet`,
			Client: `for i in 1 2 3; do curl -sk --tlsv1.3 https://$S/ -o /dev/null; sleep 0.3; done`},
		{Name: "curl-tls12", What: "HTTPS, TLS 1.2", From: "curl, openssl", Needs: []string{"curl", "openssl"}, Port: 443,
			Server: certificate + `exec openssl s_server -accept $S:443 -key key.pem -cert cert.pem -www -quiet -tls1_2`,
			Client: `for i in 1 2 3; do curl -sk --tls-max 1.2 https://$S/ -o /dev/null; sleep 0.3; done`},
		{Name: "curl-client-certificate", What: "HTTPS with a client certificate", From: "curl, openssl", Needs: []string{"curl", "openssl"}, Port: 443,
			Server: certificate + `exec openssl s_server -accept $S:443 -key key.pem -cert cert.pem -www -quiet -Verify 1`,
			Client: `curl -sk --key key.pem --cert cert.pem https://$S/ -o /dev/null; curl -sk --tls-max 1.2 --key key.pem --cert cert.pem https://$S/ -o /dev/null`},
		{Name: "openssl-s_client", What: "TLS, lines in both directions", From: "openssl", Needs: []string{"openssl"}, Port: 4433,
			Server: certificate + `exec openssl s_server -accept $S:4433 -key key.pem -cert cert.pem -rev -quiet`,
			Client: `for v in -tls1_2 -tls1_3; do (for i in 1 2 3 4; do echo a line of text; sleep 0.3; done) | timeout 4 openssl s_client -connect $S:4433 $v -quiet >/dev/null 2>&1 || true; done`},
		{Name: "openssh", What: "SSH: a command, and 1 MB copied", From: "openssh-client, openssh-server", Needs: []string{"ssh", "/usr/sbin/sshd"}, Port: 22, Server: sshd,
			Client: `ssh ` + sshOptions + ` root@$S 'uptime; sleep 0.3; ls /' >/dev/null; head -c 1000000 /dev/zero | ssh ` + sshOptions + ` root@$S 'cat >/dev/null'`},
		{Name: "git-ssh", What: "git clone over SSH", From: "git, openssh", Needs: []string{"git", "ssh", "/usr/sbin/sshd"}, Port: 22,
			Server: gitRepository + sshd, Client: `GIT_SSH_COMMAND="ssh ` + sshOptions + `" git clone -q ssh://root@$S$D/repo clone-ssh`},
		{Name: "git-https", What: "git clone over HTTPS", From: "git", Needs: []string{"git"}, Port: 443,
			Server: gitRepository + `cd repo/.git; git update-server-info; exec $B files-server $S:443`, Client: `git -c http.sslVerify=false clone -q https://$S/ clone-https`},
		{Name: "wireguard", What: "a WireGuard tunnel", From: "golang.zx2c4.com/wireguard", Needs: []string{"/dev/net/tun"},
			Server: `exec $B wireguard-server $S:51820`, Client: `exec $B wireguard-client $S:51820`},
		{Name: "openvpn-udp", What: "OpenVPN with TLS over UDP", From: "openvpn", Needs: []string{"openvpn", "/dev/net/tun"},
			Server: openvpnKeys + `exec openvpn --dev emutun1 --dev-type tun --proto udp4 --local $S --port 1194 --tls-server --dh none --ca ca.pem --cert cert.pem --key key.pem --ifconfig 10.79.0.2 10.79.0.1 --verb 1`,
			Client: `timeout 8 openvpn --dev emutun0 --dev-type tun --proto udp4 --remote $S 1194 --nobind --tls-client --ca ca.pem --cert cert.pem --key key.pem --ifconfig 10.79.0.1 10.79.0.2 --verb 1 & sleep 3; ping -q -i 0.2 -c 20 10.79.0.2 || true; wait`},
		{Name: "openvpn-tcp", What: "OpenVPN with tls-crypt over TCP", From: "openvpn", Needs: []string{"openvpn", "/dev/net/tun"}, Port: 1194,
			Server: openvpnKeys + `exec openvpn --dev emutun3 --dev-type tun --proto tcp4-server --local $S --port 1194 --tls-server --dh none --tls-crypt static.key --ca ca.pem --cert cert.pem --key key.pem --ifconfig 10.79.1.2 10.79.1.1 --verb 1`,
			Client: `timeout 8 openvpn --dev emutun2 --dev-type tun --proto tcp4-client --remote $S 1194 --nobind --tls-client --tls-crypt static.key --ca ca.pem --cert cert.pem --key key.pem --ifconfig 10.79.1.1 10.79.1.2 --verb 1 & sleep 3; ping -q -i 0.2 -c 20 10.79.1.2 || true; wait`},
		{Name: "strongswan", What: "IKEv2 with a pre-shared key", From: "strongswan-charon, strongswan-swanctl", Needs: []string{"/usr/lib/ipsec/charon", "swanctl"},
			Server: charon + `wait`, Client: charon + `timeout 8 swanctl --initiate --child net --uri unix://$D/near.vici || true; sleep 1; swanctl --terminate --ike emu --uri unix://$D/near.vici || true; kill $pid`},
		{Name: "postgresql", What: "PostgreSQL with TLS", From: "postgresql", Needs: []string{"psql", "/usr/lib/postgresql/15/bin/initdb"}, Port: 5432, Slow: true,
			Server: certificate + `chown -R postgres .; P=/usr/lib/postgresql/15/bin; as="setpriv --reuid=postgres --regid=postgres --clear-groups"; $as $P/initdb -D data -A trust >/dev/null
echo "host all all 0.0.0.0/0 trust" >>data/pg_hba.conf; exec $as $P/postgres -D data -c listen_addresses=$S -c ssl=on -c ssl_cert_file=$D/cert.pem -c ssl_key_file=$D/key.pem -c unix_socket_directories=$D`,
			Client: `for i in 1 2; do psql "host=$S user=postgres dbname=postgres sslmode=require" -qAtc "select generate_series(1,2000)" >/dev/null; done`},
		{Name: "mysql", What: "MySQL's protocol (MariaDB) with TLS", From: "mariadb-server, mariadb-client", Needs: []string{"mariadbd", "mariadb-install-db", "mysql"}, Port: 3306, Slow: true,
			Server: certificate + `chown -R mysql .; mariadb-install-db --no-defaults --user=mysql --datadir=$D/data --skip-test-db >/dev/null 2>&1
exec mariadbd --no-defaults --user=mysql --datadir=$D/data --socket=$D/sock --pid-file=$D/pid --bind-address=$S --skip-grant-tables --skip-networking=0 --ssl-cert=$D/cert.pem --ssl-key=$D/key.pem`,
			Client: `for i in 1 2; do mysql --no-defaults -h $S -u root --ssl -e "select * from mysql.help_keyword" >/dev/null; done`},
		{Name: "quic", What: "HTTP/3", From: "github.com/quic-go/quic-go", Server: `exec $B quic-server $S:443`, Client: `exec $B quic-client $S:443`},
		{Name: "dtls", What: "DTLS 1.2", From: "github.com/pion/dtls", Server: `exec $B dtls-server $S:4444`, Client: `exec $B dtls-client $S:4444`},
		{Name: "webrtc", What: "WebRTC data channel", From: "github.com/pion/webrtc", Port: 8080, Also: farAddress, Server: `exec $B webrtc-server $S:8080`, Client: `exec $B webrtc-client $S:8080`},
		{Name: "bittorrent", What: "BitTorrent with encryption", From: "github.com/anacrolix/torrent/mse", Port: 6881, ByNature: "Message Stream Encryption is made to look random: Diffie-Hellman numbers, then RC4",
			Server: `exec $P torrent-server $S:6881`, Client: `exec $P torrent-client $S:6881`},
		{Name: "syncthing", What: "Syncthing's Block Exchange Protocol", From: "syncthing", Needs: []string{"syncthing"}, Port: 22000, Slow: true,
			Server: `export HOME=$D; ` + syncthing + `setup far tcp://$S:22000; setup near tcp://0.0.0.0:22001; peer far near dynamic; peer near far tcp://$S:22000; exec syncthing serve --home=$D/far --no-browser --no-upgrade --no-default-folder`,
			Client: `export HOME=$D; timeout 10 syncthing serve --home=$D/near --no-browser --no-upgrade --no-default-folder || true`},
		{Name: "ntp", What: "NTP", From: "chrony", Needs: []string{"chronyd"},
			Server: `printf 'local stratum 8\nallow\nbindaddress %s\ncmdport 0\npidfile %s/far.pid\n' $S $D >chrony.conf; exec chronyd -d -x -f chrony.conf`,
			Client: `timeout 12 chronyd -Q -t 10 "server $S iburst" 'cmdport 0' "pidfile $D/near.pid" || true`},
		{Name: "dns-over-tls", What: "DoT", From: "knot-dnsutils; server github.com/miekg/dns", Needs: []string{"kdig"}, Port: 853,
			Server: `exec $B dns-server $S:853`, Client: `for i in 1 2 3; do kdig @$S +tls host$i.example.com >/dev/null; sleep 0.2; done`},
		{Name: "dns-over-https", What: "DoH", From: "bind9-dnsutils; server github.com/miekg/dns", Needs: []string{"dig"}, Port: 443,
			Server: `exec $B dns-server $S:443`, Client: `for i in 1 2 3; do dig @$S +https host$i.example.com >/dev/null; sleep 0.2; done`},
		{Name: "dns-over-quic", What: "DoQ", From: "github.com/miekg/dns, quic-go", Port: 853,
			Server: `exec $B dns-server $S:853`, Client: `exec $B doq-client $S:853`},
		{Name: "smtp-starttls", What: "SMTP with STARTTLS", From: "swaks; server Go", Needs: []string{"swaks"}, Port: 25,
			Server: `exec $B smtp-server $S:25`, Client: `swaks --server $S --tls --from ana@example.com --to bo@example.com --body "$(seq 200)" >swaks.log`},
		{Name: "imap-starttls", What: "IMAP with STARTTLS", From: "dovecot-imapd, curl", Needs: []string{"dovecot", "curl"}, Port: 143,
			Server: certificate + dovecot, Client: `curl -sk -m 5 --ssl-reqd imap://$S/ -u ana:secret -o /dev/null || true; echo 'a logout' | timeout 3 openssl s_client -connect $S:143 -starttls imap -quiet >/dev/null 2>&1 || true`},
		{Name: "chromium", What: "a page with a picture over HTTPS", From: "chromium; server Go", Needs: []string{"chromium"}, Port: 443, Slow: true,
			Server: `mkdir -p www; for i in $(seq 300); do echo "<p>Paragraph $i"; done >www/index.html; cd www; exec $B files-server $S:443`,
			Client: `export HOME=$D; timeout 25 chromium --headless --no-sandbox --disable-gpu --ignore-certificate-errors --disable-background-networking --user-data-dir=$D/profile --dump-dom https://$S/ >page.html`},
		{Name: "http-gzip", What: "gzip over HTTP", From: "nginx, curl", Needs: []string{"nginx", "curl"}, Port: 80,
			Server: `seq 200000 >page.txt; gzip -k page.txt; ` + nginx, Client: `curl -s --compressed http://$S/page.txt -o /dev/null; curl -s http://$S/page.txt.gz -o /dev/null`},
		{Name: "http-video", What: "H.264 video over HTTP", From: "nginx, ffmpeg, curl", Needs: []string{"nginx", "ffmpeg", "curl"}, Port: 80,
			Server: `ffmpeg -v error -f lavfi -i testsrc2=duration=4:size=640x360 -c:v libx264 video.mp4; ` + nginx, Client: `curl -s http://$S/video.mp4 -o /dev/null; curl -s -r 100000-300000 http://$S/video.mp4 -o /dev/null`},
		{Name: "noise-messenger", What: "a messenger over Noise_XX", From: "github.com/flynn/noise", Port: 5222, ByNature: "Noise has no clear bytes but 16-bit lengths",
			Server: `exec $P noise-server $S:5222`, Client: `exec $P noise-client $S:5222`},
	}
}

const gitRepository = `git init -q repo; cd repo; seq 20000 >numbers; git add numbers; git -c user.name=ana -c user.email=ana@example.com commit -qm first; cd ..
`

const nginx = `printf 'daemon off; pid %s/pid; error_log stderr; events {} http { access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4; scgi_temp_path %s/t5; gzip on; gzip_types text/plain; server { listen %s:80; root %s; } }' $D $D $D $D $D $D $S $D >nginx.conf; chmod 755 .
exec nginx -e stderr -c $D/nginx.conf`

const dovecot = `printf '%s\n' "protocols = imap" "listen = $S" "base_dir = $D/run" "log_path = $D/log" "ssl = yes" "ssl_cert = <$D/cert.pem" "ssl_key = <$D/key.pem" "mail_location = maildir:$D/mail" \
	"passdb {" " driver = static" " args = password=secret" "}" "userdb {" " driver = static" " args = uid=mail gid=mail home=$D/home" "}" "service imap-login {" " inet_listener imaps {" "  port = 0" " }" "}" >dovecot.conf
chmod 755 .; mkdir -p mail home; chown mail mail home; exec dovecot -F -c $D/dovecot.conf`

const syncthing = `setup() { # SIDE LISTEN
	mkdir -p $1; syncthing generate --home=$D/$1 --no-default-folder >/dev/null 2>&1
	sed -i "s|<listenAddress>.*</listenAddress>|<listenAddress>$2</listenAddress>|; s|<globalAnnounceEnabled>true|<globalAnnounceEnabled>false|; s|<localAnnounceEnabled>true|<localAnnounceEnabled>false|; s|<relaysEnabled>true|<relaysEnabled>false|; s|<natEnabled>true|<natEnabled>false|; s|<urAccepted>0|<urAccepted>-1|; s|<crashReportingEnabled>true|<crashReportingEnabled>false|" $1/config.xml
}
peer() { # SIDE OTHER ADDRESS
	id=$(syncthing --device-id --home=$D/$2); sed -i "s|</configuration>|<device id=\"$id\" name=\"$2\" compression=\"metadata\"><address>$3</address></device></configuration>|" $1/config.xml
}
`

// charon starts IKE for the side that $SIDE names, in a mount namespace whose /run is its own, and loads one connection.
const charon = `mkdir -p $SIDE; other=$([ $SIDE = near ] && echo far || echo near)
printf '%s\n' "charon {" " plugins {" "  vici { socket = unix://$D/$SIDE.vici }" " }" " install_routes = no" " filelog { stderr { default = 1 } }" "}" >$SIDE/strongswan.conf
[ $SIDE = near ] && L=10.76.0.1 R=$S || { L=$S; R=10.76.0.1; }
printf '%s\n' "connections {" " emu {" "  local_addrs = $L" "  remote_addrs = $R" "  version = 2" "  local { auth = psk }" "  remote { auth = psk }" "  children { net { start_action = none } }" " }" "}" "secrets { ike-emu { secret = made-up } }" >$SIDE/swanctl.conf
export STRONGSWAN_CONF=$D/$SIDE/strongswan.conf
unshare --mount bash -c 'mount -t tmpfs none /run; exec /usr/lib/ipsec/charon' 2>$SIDE/log & pid=$!
for i in $(seq 40); do [ -S $SIDE.vici ] && break; sleep 0.1; done
swanctl --load-all --file $D/$SIDE/swanctl.conf --uri unix://$D/$SIDE.vici
`
