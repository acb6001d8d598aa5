import java.io.*;
import java.net.*;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import javax.net.ssl.*;

/**
 * Records genuine TLS of Java's JSSE: java Talk.java PROTOCOL KEYSTORE (password changeit) prints what each side sent through a proxy on
 * loopback, in order: C or S and the bytes of one read in hexadecimal.
 *
 * keytool -genkeypair -alias a -keyalg EC -keystore ks.p12 -storepass changeit -dname CN=x.example
 * java Talk.java TLSv1.3 ks.p12 > genuine/java_tls13.txt
 */
public class Talk {
    static void pump(InputStream in, OutputStream out, String side) {
        try {
            byte[] b = new byte[65536];
            for (int n; (n = in.read(b)) > 0; ) {
                synchronized (Talk.class) { System.out.println(side + " " + HexFormat.of().formatHex(b, 0, n)); }
                out.write(b, 0, n);
            }
            out.close();
        } catch (IOException e) { /* the other side is gone */ }
    }

    static void echo(ServerSocket l) {
        try (Socket s = l.accept()) {
            byte[] b = new byte[1000];
            for (int n; (n = s.getInputStream().read(b)) > 0; ) s.getOutputStream().write(b, 0, n);
        } catch (IOException e) { /* closed */ }
    }

    public static void main(String[] a) throws Exception {
        System.setProperty("javax.net.ssl.keyStore", a[1]);
        System.setProperty("javax.net.ssl.keyStorePassword", "changeit");
        InetAddress lo = InetAddress.getLoopbackAddress();
        ServerSocket l = SSLServerSocketFactory.getDefault().createServerSocket(0, 5, lo);
        new Thread(() -> echo(l)).start();
        ServerSocket tap = new ServerSocket(0, 5, lo);
        new Thread(() -> {
            try {
                Socket c = tap.accept(), s = new Socket(lo, l.getLocalPort());
                new Thread(() -> { try { pump(s.getInputStream(), c.getOutputStream(), "S"); } catch (IOException e) { } }).start();
                pump(c.getInputStream(), s.getOutputStream(), "C");
            } catch (IOException e) { }
        }).start();
        SSLContext ctx = SSLContext.getInstance("TLS");
        ctx.init(null, new TrustManager[] {new X509TrustManager() {
            public void checkClientTrusted(X509Certificate[] c, String s) { }
            public void checkServerTrusted(X509Certificate[] c, String s) { }
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        }}, null);
        SSLSocket s = (SSLSocket) ctx.getSocketFactory().createSocket(lo, tap.getLocalPort());
        s.setEnabledProtocols(new String[] {a[0]});
        for (int i = 0; i < 3; i++) {
            s.getOutputStream().write(("message " + i).getBytes());
            s.getInputStream().read(new byte[1000]);
        }
        s.close();
        Thread.sleep(200);
        System.exit(0);
    }
}
