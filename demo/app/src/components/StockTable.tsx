import { useStockQuery } from '../api'
import { whatWentWrong } from '../words'

const LOW = 10

export function StockTable() {
  const { data, error, isFetching, refetch } = useStockQuery()
  return (
    <section className="card stock" aria-labelledby="stock" aria-busy={isFetching}>
      <header>
        <h2 id="stock">Stock</h2>
        {data && <p className="quiet">{data.length} items</p>}
      </header>
      {error && (
        <p className="error">
          {whatWentWrong(error)}{' '}
          <button type="button" className="link" onClick={refetch}>
            Try again
          </button>
        </p>
      )}
      {!data && !error && <p className="quiet">Loading</p>}
      {data && (
        <table aria-labelledby="stock">
          <thead>
            <tr>
              <th scope="col">Item</th>
              <th scope="col">Shelf</th>
              <th scope="col" className="number">
                Count
              </th>
            </tr>
          </thead>
          <tbody>
            {data.map(({ id, item, shelf, count }) => (
              <tr key={id}>
                <th scope="row">{item}</th>
                <td className="shelf">{shelf}</td>
                <td className="number">
                  {count < LOW && <span className="pill warn">low</span>} {count.toLocaleString('en')}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}
