ALTER USER 'root'@'localhost' IDENTIFIED BY '{admin_password}';
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '{admin_password}';
ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY '{admin_password}';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS 'tidemart'@'127.0.0.1' IDENTIFIED BY '{owner_password}';
ALTER USER 'tidemart'@'127.0.0.1' IDENTIFIED BY '{owner_password}';
GRANT PROCESS ON *.* TO 'tidemart'@'127.0.0.1';
