for range in 0-262143 20000000-20262143 40000000-40262143 -262144; do
  curl --silent --fail --range "$range" "$1"
done
