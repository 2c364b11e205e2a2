part=8388608 options=()
for number in {0..7}; do
  range=$((number * part))-$((number * part + part - 1))
  options+=(--next --fail --silent --range "$range" --output "part$number" "$1")
done
curl --no-progress-meter --parallel "${options[@]}"
cat part{0..7}
