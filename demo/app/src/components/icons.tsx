// Drawn here, so that nothing is fetched from elsewhere. All are decoration: the words beside them say it.

export function Gate() {
  return (
    <svg className="gate" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M6 26V14a10 10 0 0 1 20 0v12M12.7 5v23M19.3 5v23M6 13.5h20M6 20h20" />
    </svg>
  )
}

/** A gate on its way down, as large as its place. */
export function Portcullis() {
  const bars = [40, 120, 200, 280, 360, 440, 520]
  return (
    <svg className="portcullis" viewBox="0 0 560 420" preserveAspectRatio="xMidYMax slice" aria-hidden="true">
      {bars.map((x) => (
        <path key={x} d={`M${x - 8}-400V386l8 26 8-26V-400Z`} />
      ))}
      {[320, 240, 160, 80, 0, -80, -160].map((y) => (
        <path key={y} d={`M-20 ${y}h600v12H-20Z`} />
      ))}
      {bars.map((x) => (
        <path key={x} d={`M${x} 312l14 14-14 14-14-14Z`} />
      ))}
    </svg>
  )
}

export function CloudOff() {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M4 4l16 16M9 6.3A6 6 0 0 1 17.5 11 4 4 0 0 1 20.3 17M16 18H7a4.5 4.500 0 0 1-.9-8.900" />
    </svg>
  )
}
